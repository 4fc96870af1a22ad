"""The programs: each main reads from top to bottom; start it by `python -m experiments.NAME`."""
