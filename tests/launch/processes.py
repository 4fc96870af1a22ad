"""Sweeps of points written here, as users start them: real processes."""

import json
import subprocess
import sys

from tests.experiments.processes import ROOT


def write(path, points, **values):
    about = {"about": "of a test", "config": "configs/digits.py", "overrides": {}, "points": points}
    path.write_text(json.dumps(about | values))
    return path


def start(*arguments, python=(sys.executable,), **options):
    return subprocess.Popen(
        [*python, str(ROOT / "launch" / "sweep.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def sweep(*arguments, status=0, **options):
    """Runs a sweep to its end and returns what it printed."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, f"status {process.returncode}\n{out}\n{err[-3000:]}"
    return out, err
