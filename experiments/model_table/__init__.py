"""Prints parameters and FLOPs of networks, and those of the paper."""
