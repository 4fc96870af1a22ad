"""Attention maps: where inputs lie, colours, panels and pictures."""
