"""What `python -m experiments.benchmark` times, a file each kind of measurement."""
