"""Decodes sound and video files and writes them as a TFDS data set of clips (Sec. 4.2)."""
