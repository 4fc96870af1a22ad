"""Streams of batches: the order of examples, batches, stream positions, and records of files."""
