"""The programs: each main reads from top to bottom and is started by `python -m experiments.NAME`."""
