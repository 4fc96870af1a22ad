"""Trains every point of a sweep and ranks the results."""
