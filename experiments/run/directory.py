"""Makes the folder of a run, writes its config.json, and checks it before a run resumes."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from experiments.cli.config_files import flatten
from perceiver import run_files
from perceiver.errors import InputError
from perceiver.stored_configs import upgrade
from perceiver.training.logging.metrics import write_json

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
      InputError: The folder cannot be made or written to.
    """
    if "://" in path:  # as a Path it would be a local folder with this name
        raise InputError(f"--workdir={path} is no folder; mount the storage, and give its path")
    try:
        workdir = Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"--workdir={path}: {error}; give the folder's path") from error
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except FileExistsError as error:
        raise InputError(
            f"--workdir={path} is a file; give a folder, which need not exist"
        ) from error
    except OSError as error:
        raise InputError(f"--workdir={path} can't be written: {error.strerror}") from error
    return workdir


def write_run(
    workdir: Path, config: ConfigDict, parameters: int, class_names: Sequence[str]
) -> None:
    """Writes config.json, on process 0.

    Args:
      workdir: The run's folder.
      config: The whole config, so that the network can be built from this file.
      parameters: Number of parameters of the network.
      class_names: Names of the classes, in the order of the network's outputs.
    """
    if jax.process_index() != 0:
        return
    write_json(
        workdir / run_files.CONFIG,
        {
            "config": config.to_dict(),
            "command": sys.argv,
            "parameters": parameters,
            "versions": {"python": platform.python_version(), **_versions()},
            "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
            "processes": jax.process_count(),
            "cpus": os.cpu_count(),
            "git": _git_revision(),
            "class_names": list(class_names),
        },
    )


def check_same_network(workdir: Path, config: ConfigDict) -> None:
    """Checks that a config describes the network of the checkpoints in the workdir.

    The arrays alone do not show this: permuted inputs, for example, leave them unchanged.

    Raises:
      InputError: A value of `config.model` differs that changes the network's outputs. Values that
        only affect training or rounding may differ.
    """
    then = _saved_config(workdir)
    if then is None:
        return
    now = dict(flatten(ConfigDict(json.loads(config.to_json()))))
    for key in sorted(then.keys() | now.keys()):
        free = key.rpartition(".")[2] in ("attention", "dtype", "remat", "dropout")
        if free or not key.startswith("model."):
            continue
        if then.get(key) != now.get(key):
            raise InputError(
                f"config.{key}={now.get(key)}, but --workdir={workdir} was trained with "
                f"{then.get(key)}; take that value or another workdir"
            )


def _saved_config(workdir: Path) -> dict[str, object] | None:
    """Returns the config values of the run in the workdir; None without checkpoints."""
    file = workdir / run_files.CONFIG
    if not file.exists() or not any((workdir / run_files.CHECKPOINTS).glob("[0-9]*")):
        return None
    try:
        return dict(flatten(ConfigDict(upgrade(json.loads(file.read_text("utf-8"))["config"]))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged; remove it to go on without it") from error


# Keys that may change when a run is resumed: its length, how often it reports and saves, the place
# of the same data, and implementations that give the same numbers.
_FREE = (
    "train.steps",
    "train.epochs",
    "train.log_every",
    "train.eval_every",
    "train.eval_every_epochs",
    "train.checkpoint_every",
    "train.checkpoint_every_epochs",
    "train.keep_checkpoints",
    "train.max_unreadable",
    "eval.batch_size",
    "eval.checkpoint",
    "data.dir",
    "model.attention",
    "model.remat",
)


def check_resumable(workdir: Path, config: ConfigDict, *, insist: bool) -> None:
    """Checks that a run can be resumed with a config, and prints the values that have changed.

    Args:
      workdir: The run's folder.
      config: The config that the run is started with now.
      insist: True to resume although the changes make it another run.

    Raises:
      InputError: The config describes another network; or a changed value makes it another run
        and `insist` is false.
    """
    check_same_network(workdir, config)
    then = _saved_config(workdir)
    if then is None:
        return
    now = dict(flatten(ConfigDict(json.loads(config.to_json()))))
    changed = {
        key: f"config.{key}={now.get(key)}, before {then.get(key)}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    }
    if not changed:
        return
    if jax.process_index() == 0:
        print(f"the config has changed: {'; '.join(changed.values())}", flush=True)
    refused = [text for key, text in changed.items() if key not in _FREE]
    if refused and not insist:
        raise InputError(
            f"--workdir={workdir} is another run: {'; '.join(refused)}; take the values from "
            "before, another workdir, or --insist to go on with the new ones"
        )


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # TensorFlow has one of two package names
    return versions


def _git_revision() -> str | None:
    """Returns the git revision, with '+changes' for modified files; None outside a checkout."""
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
