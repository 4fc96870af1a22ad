"""Draws what the latents of a trained Perceiver attend to."""
