"""What a program needs before anything can be imported: a Python and the project's packages.

Written for any Python 3, as it is the first that an old one reads, and with no package but
Python's own. Until a program has its own answer, Ctrl-C ends it without a traceback too.
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
    """Ends the program, with a line that says what to do, where it could not run.

    It is for the moment at which Python is about to start a program.
    """
    problem = version_problem(sys.version_info[:3]) or packages_problem(_PACKAGES)
    if problem:
        print("error: " + problem, file=sys.stderr)
        sys.exit(_EXIT_USER_ERROR)
    sys.excepthook = _without_traceback(sys.excepthook)


def version_problem(version):
    """What is wrong with a version of Python, such as (3, 9, 18), in a line; None for nothing."""
    if tuple(version[:2]) >= OLDEST:
        return None
    here, needed = (".".join(str(number) for number in x) for x in (version, OLDEST))
    return f"{sys.executable} is Python {here}, needed is {needed} or later; {_what_to_do()}"


def packages_problem(packages):
    """Which of these packages this Python does not have, in a line; None where it has all."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return "{} has no package {}; {}".format(sys.executable, ", ".join(missing), _what_to_do())


def _what_to_do():
    """How to come to the right Python from here."""
    checkout = os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir))
    there = os.path.join(checkout, ".venv", "bin", "activate")
    made = os.path.exists(there)
    activate = "source " + (os.path.relpath(there) if made else ".venv/bin/activate")
    return "run: " + (activate if made else "make env && " + activate)


def _without_traceback(hook):
    """A hook for what nothing has caught that answers Ctrl-C in a word."""

    def answer(kind, error, trace):
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
        else:
            hook(kind, error, trace)

    return answer
