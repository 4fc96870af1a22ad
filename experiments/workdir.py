"""What a run leaves about itself: config.json with config, versions, devices and git revision."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
from ml_collections import ConfigDict

from experiments.command_line import UserError, flatten
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


def check_same_network(workdir: Path, config: ConfigDict) -> None:
    """Refuses a config whose network is not that of the checkpoints in the workdir.

    Networks that differ in what they do alone, such as permuted and not, have the same arrays.

    Raises:
      UserError: a value of `config.model` is another, what changes in training or in arithmetic
        alone left aside.
    """
    file = workdir / "config.json"
    if not file.exists() or not any((workdir / "checkpoints").glob("[0-9]*")):
        return
    try:
        then = dict(flatten(ConfigDict(json.loads(file.read_text("utf-8"))["config"]["model"])))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged; remove it to go on without it") from error
    now = dict(flatten(ConfigDict(json.loads(config.model.to_json()))))
    for key in sorted(then.keys() | now.keys()):
        if key.rpartition(".")[2] in ("attention", "dtype", "remat", "dropout"):
            continue
        if then.get(key) != now.get(key):
            raise UserError(
                f"config.model.{key}={now.get(key)}, but --workdir={workdir} was trained with "
                f"{then.get(key)}; take that value or another workdir"
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
