"""The programs: each main reads from top to bottom; start it by `python -m experiments.NAME`."""

import sys

if sys.argv[:1] == ["-m"]:  # Python is looking for a program of this package to start it
    from experiments.cli import environment

    environment.check()
