"""Compares runs in tables, curves and a web page."""
