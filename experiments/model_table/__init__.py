"""Prints parameters and FLOPs of networks, beside those of the paper."""
