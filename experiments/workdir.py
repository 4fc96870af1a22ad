"""What a run leaves about itself: config.json with config, versions, devices and git revision."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
from ml_collections import ConfigDict

from experiments.command_line import UserError
from perceiver.training.logs import write_json

_PACKAGES = (
    "jax",
    "jaxlib",
    "dm-haiku",
    "optax",
    "orbax-checkpoint",
    "ml_collections",
    "numpy",
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-datasets",
)


def prepare_workdir(path: str) -> Path:
    """Makes the folder of a run.

    Raises:
      UserError: it can't be made or written to.
    """
    workdir = Path(path).expanduser()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(f"--workdir={path} can't be written: {error.strerror}") from error
    return workdir


def write_run(workdir: Path, config: ConfigDict, parameters: int) -> None:
    """Writes config.json, on one process; `parameters` is how many the network has."""
    if jax.process_index() != 0:
        return
    write_json(
        workdir / "config.json",
        {
            "config": config.to_dict(),
            "command": sys.argv,
            "parameters": parameters,
            "versions": {"python": platform.python_version(), **_versions()},
            "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
            "processes": jax.process_count(),
            "cpus": os.cpu_count(),
            "git": _git_revision(),
        },
    )


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # TensorFlow goes by one of two names
    return versions


def _git_revision() -> str | None:
    """The revision of the code, '+changes' where files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        revision = _git(here, "rev-parse", "HEAD")
        return revision + ("+changes" if _git(here, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or not a checkout: an installed copy


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()
