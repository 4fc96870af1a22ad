"""Starts `python -m experiments...` on this machine, on a cluster, on a TPU pod, or as a sweep."""

import os
import re
import sys

# An old Python imports this file first, so it is written for any Python 3.
_PYPROJECT = os.path.join(os.path.dirname(__file__), os.pardir, "pyproject.toml")
with open(_PYPROJECT, encoding="utf-8") as _file:
    _found = re.findall(r'^requires-python = ">=(\d+)\.(\d+)', _file.read(), re.MULTILINE)
OLDEST = tuple(int(number) for number in _found[0])

if sys.version_info[:2] < OLDEST:
    print(
        "error: {} is Python {}.{}, needed is {}.{} or later; run: make env && "
        "source .venv/bin/activate".format(sys.executable, *(sys.version_info[:2] + OLDEST)),
        file=sys.stderr,
    )
    sys.exit(2)
