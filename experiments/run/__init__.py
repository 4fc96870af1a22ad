"""Runs: the record built from a config, the directory, evaluation and restored networks."""
