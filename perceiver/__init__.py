"""Perceiver: General Perception with Iterative Attention (Jaegle et al., ICML 2021), in JAX and Haiku."""

__version__ = "0.1.0"
