"""A run: what its config decides, its directory, evaluation and restored networks."""
