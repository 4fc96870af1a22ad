"""Sound and video: preparing AudioSet and one's own clips, and windows of them (Sec. 4.2)."""
