"""Attention maps: what of them goes where, and how it is drawn; the program is beside."""
