"""The programs, started with `python -m experiments.NAME`; each reads from top to bottom."""

import sys

if sys.argv[:1] == ["-m"]:  # Python imports this package to start a program in it
    from experiments.cli import environment  # not needed otherwise

    environment.check()
