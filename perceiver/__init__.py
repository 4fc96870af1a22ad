"""Perceiver (Jaegle et al., ICML 2021) in JAX and Haiku."""
