"""What starts `python -m experiments...`: on this machine, on a cluster, on a pod, as a sweep."""

import sys

# Written for any Python 3, as it is the first that an old one reads; setup.py has the number.
OLDEST = (3, 11)

if sys.version_info[:2] < OLDEST:
    print(
        "error: {} is Python {}.{}, needed is 3.11 or later; run: make env && "
        "source .venv/bin/activate".format(sys.executable, *sys.version_info[:2]),
        file=sys.stderr,
    )
    sys.exit(2)
