"""Attention of latents to inputs, and of vectors to each other (Sec. 3.1)."""
