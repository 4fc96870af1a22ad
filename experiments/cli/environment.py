"""Checks of Python's version and packages, before a program imports anything else.

An old Python reads this file too, so it keeps to the syntax of any Python 3 and to the standard
library. It also makes Ctrl-C end a program without a traceback while its imports run.
"""

import importlib.util
import os
import re
import sys

_PYPROJECT = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, "pyproject.toml")
with open(_PYPROJECT, encoding="utf-8") as _file:
    _found = re.findall(r'^requires-python = ">=(\d+)\.(\d+)', _file.read(), re.MULTILINE)
OLDEST = tuple(int(number) for number in _found[0])
_PACKAGES = ("jax", "haiku", "optax", "absl", "ml_collections", "orbax", "numpy")
_EXIT_USER_ERROR = 2


def check():
    """Ends the program with an error of one line if this Python cannot run it.

    Python calls it just before it starts a program.
    """
    problem = version_problem(sys.version_info[:3]) or packages_problem(_PACKAGES)
    if problem:
        print("error: " + problem, file=sys.stderr)
        sys.exit(_EXIT_USER_ERROR)
    sys.excepthook = _without_traceback(sys.excepthook)


def version_problem(version):
    """Returns the message for a version that is too old, such as (3, 9, 18), otherwise None."""
    if tuple(version[:2]) >= OLDEST:
        return None
    here, needed = (".".join(str(number) for number in x) for x in (version, OLDEST))
    return f"{sys.executable} is Python {here}, needed is {needed} or later; {_what_to_do()}"


def packages_problem(packages):
    """Returns the message for packages that this Python lacks, or None if it has all of them."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return "{} has no package {}; {}".format(sys.executable, ", ".join(missing), _what_to_do())


def _what_to_do():
    """Returns the commands that activate the project's environment."""
    checkout = os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir))
    there = os.path.join(checkout, ".venv", "bin", "activate")
    made = os.path.exists(there)
    activate = "source " + (os.path.relpath(there) if made else ".venv/bin/activate")
    return "run: " + (activate if made else "make env && " + activate)


def _without_traceback(hook):
    """Returns an exception hook that prints one word for Ctrl-C and calls `hook` otherwise."""

    def report(kind, error, trace):
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
        else:
            hook(kind, error, trace)

    return report
