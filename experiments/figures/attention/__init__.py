"""Attention maps: layouts of inputs, colours, panels and pictures."""
