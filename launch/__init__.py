"""Launchers of `python -m experiments...`: on this machine, a cluster or a pod, or as a sweep."""

import sys

# In the syntax of any Python 3, because old ones read this file. setup.py has the same number.
OLDEST = (3, 11)

if sys.version_info[:2] < OLDEST:
    print(
        "error: {} is Python {}.{}, needed is 3.11 or later; run: make env && "
        "source .venv/bin/activate".format(sys.executable, *sys.version_info[:2]),
        file=sys.stderr,
    )
    sys.exit(2)
