"""Sweeps as users start them: real processes, of the real trainer or of one that takes moments."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.experiments.processes import ROOT

_TRAINER = Path(__file__).parent / "sweep_trainer.py"


def write(path, points, **values):
    about = {"about": "of a test", "config": "configs/digits.py", "overrides": {}, "points": points}
    path.write_text(json.dumps(about | values))
    return path


def checkout(folder):
    """A checkout in which experiments.train is the stand-in of sweep_trainer.py."""
    shutil.copytree(ROOT / "launch", folder / "launch")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for room in ("configs", "experiments"):
        (folder / room).mkdir()
    (folder / "configs" / "digits.py").write_text("def get_config(variant=''):\n    ...\n")
    shutil.copy(_TRAINER, folder / "experiments" / "train.py")
    return folder


def start(*arguments, root=ROOT, python=(sys.executable,), environment=(), **options):
    kinds = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(
        [*python, "-m", "launch.sweep", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"} | dict(environment),
        **(kinds | {"cwd": root} | options),
    )


def sweep(*arguments, status=0, **options):
    """Runs a sweep to its end and returns what it printed."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, f"status {process.returncode}\n{out}\n{err[-3000:]}"
    return out, err


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tries(folder):
    """What the stand-in noted at each of its starts in a folder: time, process id and GPUs."""
    lines = (folder / "tries").read_text().splitlines()
    return [(float(at), int(pid), gpus) for at, pid, gpus in map(str.split, lines)]
