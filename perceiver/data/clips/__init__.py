"""Loads clips of sound and video: AudioSet and folders of clips (Sec. 4.2)."""
