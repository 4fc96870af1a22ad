"""Starts sweeps on the command line, with the real trainer or a quick stand-in."""

import json
import shutil
from pathlib import Path

from tests.processes import ROOT, finish, start_python

_TRAINER = Path(__file__).parent / "sweep_trainer.py"


def write(path, points, **values):
    sweep_file = {
        "about": "of a test",
        "config": "configs/digits.py",
        "overrides": {},
        "points": points,
    }
    path.write_text(json.dumps(sweep_file | values))
    return path


def checkout(folder):
    """Makes a checkout in which experiments.train is sweep_trainer.py."""
    shutil.copytree(ROOT / "launch", folder / "launch")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in ("configs", "experiments"):
        (folder / package).mkdir()
    (folder / "configs" / "digits.py").write_text("def get_config(variant=''):\n    ...\n")
    shutil.copy(_TRAINER, folder / "experiments" / "train.py")
    return folder


def start(*arguments, root=ROOT, python_options=(), environment=(), **options):
    return start_python(
        *python_options,
        *("-m", "launch.sweep"),
        *arguments,
        environment={
            "PYTHONPATH": str(root),
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            **dict(environment),
        },
        **({"cwd": root} | options),
    )


def sweep(*arguments, status=0, **options):
    """Runs a sweep to its end; returns stdout and stderr."""
    return finish(start(*arguments, **options), status)


def tries(folder):
    """Returns (time, process ID, GPUs) of each start of the stand-in in a folder."""
    lines = (folder / "tries").read_text().splitlines()
    return [(float(at), int(pid), gpus) for at, pid, gpus in map(str.split, lines)]
