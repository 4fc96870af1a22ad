"""What a run leaves about itself: config.json with config, versions, devices and git revision."""

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
      InputError: it can't be made or written to.
    """
    if "://" in path:  # a Path of it would be a folder here, and lost with this machine
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
    """Writes config.json, on one process.

    Args:
      workdir: the folder of the run.
      config: all of it, so that the network can be built from this file.
      parameters: how many the network has.
      class_names: in the order of its outputs.
    """
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
            "class_names": list(class_names),
        },
    )


def check_same_network(workdir: Path, config: ConfigDict) -> None:
    """Refuses a config whose network is not that of the checkpoints in the workdir.

    Networks that differ in what they do alone, such as permuted and not, have the same arrays.

    Raises:
      InputError: a value of `config.model` is another, what changes in training or in arithmetic
        alone left aside.
    """
    then = _config_then(workdir)
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


def _config_then(workdir: Path) -> dict[str, object] | None:
    """The values of the run that left checkpoints in the workdir; None without such a run."""
    file = workdir / "config.json"
    if not file.exists() or not any((workdir / "checkpoints").glob("[0-9]*")):
        return None
    try:
        return dict(flatten(ConfigDict(upgrade(json.loads(file.read_text("utf-8"))["config"]))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged; remove it to go on without it") from error


# What may change from one start of a run to the next: its length, how often it reports and saves,
# where the same data lie, and other ways to the same numbers.
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
    """Shows how the config differs from that of the checkpoints in the workdir, before it goes on.

    Args:
      workdir: the folder of the run.
      config: what it is started with now.
      insist: whether to go on though it is another run.

    Raises:
      InputError: the network is another; or a value differs that makes it another run, and the user
        does not insist.
    """
    check_same_network(workdir, config)
    then = _config_then(workdir)
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
    others = [text for key, text in changed.items() if key not in _FREE]
    if others and not insist:
        raise InputError(
            f"--workdir={workdir} is another run: {'; '.join(others)}; take the values from "
            "before, another workdir, or --insist to go on with the new ones"
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
