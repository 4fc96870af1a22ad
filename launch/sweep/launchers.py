"""Launchers of a sweep's points: on this machine, as SLURM jobs, or on TPU pods.

A launcher gives the commands that start and stop a point. The start command runs as long as the
point trains and ends with the status of experiments.train.
"""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from launch.sweep.values import SweepError

TRAIN = (sys.executable, "-m", "experiments.train")


class Launcher(Protocol):
    """Runs at most one point in each of the places 0 to `places` - 1."""

    places: int

    def command(self, folder: Path, flags: Sequence[str], place: int) -> list[str]:
        """Returns the command that trains a point, for the repository root."""

    def environment(self, place: int) -> Mapping[str, str]:
        """Returns variables for the command, in addition to the environment of the sweep."""

    def stop(self, folder: Path, place: int) -> list[list[str]]:
        """Returns commands that make a point save and end; none if its command takes a signal."""


class Local:
    """Runs points as processes of this machine, `places` at once."""

    def __init__(self, places: int):
        """Divides the GPUs of CUDA_VISIBLE_DEVICES among the places.

        Raises:
          SweepError: the places can't have equal numbers of GPUs.
        """
        self.places = places
        gpus = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
        self._gpus = gpus if len(gpus) > 1 else []
        if len(self._gpus) % places:
            raise SweepError(
                f"--parallel={places} does not divide the {len(gpus)} GPUs of CUDA_VISIBLE_DEVICES"
            )

    def command(self, folder: Path, flags: Sequence[str], place: int) -> list[str]:
        """See `Launcher`."""
        return [*TRAIN, *flags]

    def environment(self, place: int) -> Mapping[str, str]:
        """See `Launcher`."""
        share = len(self._gpus) // self.places
        mine = self._gpus[place * share : (place + 1) * share]
        return {"CUDA_VISIBLE_DEVICES": ",".join(mine)} if mine else {}

    def stop(self, folder: Path, place: int) -> list[list[str]]:
        """See `Launcher`."""
        return []


class Slurm:
    """Runs points as SLURM jobs with launch/slurm.sbatch, `places` in the queue at once."""

    def __init__(self, places: int, flags: Sequence[str]):
        """Stores the number of places and additional flags for sbatch."""
        self.places = places
        self._flags = flags

    def command(self, folder: Path, flags: Sequence[str], place: int) -> list[str]:
        """See `Launcher`.

        A job waits for other jobs with its name, so that the job of a killed sweep and the job of
        the next sweep do not train in one folder at the same time.
        """
        log = str(folder / "output.log").replace("%", "%%")  # % begins a pattern of sbatch
        return [
            "sbatch",
            "--wait",
            f"--job-name={_job(folder)}",
            "--dependency=singleton",
            f"--output={log}",
            "--open-mode=append",
            *self._flags,
            "launch/slurm.sbatch",
            *flags,
        ]

    def environment(self, place: int) -> Mapping[str, str]:
        """See `Launcher`."""
        return {}

    def stop(self, folder: Path, place: int) -> list[list[str]]:
        """See `Launcher`."""
        job = f"--name={_job(folder)}"
        # The first command makes launch/slurm.sbatch save and end. A pending job gets no signal.
        return [
            ["scancel", "--batch", "--signal=TERM", "--state=RUNNING", job],
            ["scancel", "--state=PENDING", job],
        ]


def _job(folder: Path) -> str:
    """Returns a name for the job of a folder, unique to it."""
    return f"sweep-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


class Tpu:
    """Runs points on existing TPU pods with launch/tpu_pod.sh, one point at a time on each pod."""

    def __init__(self, pods: Sequence[str]):
        """Stores the names of the pods."""
        self.places = len(pods)
        self._pods = pods

    def command(self, folder: Path, flags: Sequence[str], place: int) -> list[str]:
        """See `Launcher`."""
        return ["launch/tpu_pod.sh", "train", self._pods[place], "--watch", "--", *flags]

    def environment(self, place: int) -> Mapping[str, str]:
        """See `Launcher`."""
        return {}

    def stop(self, folder: Path, place: int) -> list[list[str]]:
        """See `Launcher`."""
        return [["launch/tpu_pod.sh", "stop", self._pods[place]]]


def make_launcher(
    name: str, parallel: int | None, pods: str | None, sbatch: Sequence[str]
) -> Launcher:
    """Makes a launcher.

    Args:
      name: 'local', 'slurm' or 'tpu'.
      parallel: number of points at once; None for 1, or for one on each pod.
      pods: names of pods, separated by commas; only for tpu.
      sbatch: flags for sbatch; only for slurm.

    Raises:
      SweepError: arguments that don't go together.
    """
    if parallel is not None and parallel < 1:
        raise SweepError(f"--parallel={parallel}: give at least 1")
    if sbatch and name != "slurm":
        raise SweepError(f"--sbatch={sbatch[0]} is for --launcher=slurm")
    if pods is not None and name != "tpu":
        raise SweepError(f"--pods={pods} is for --launcher=tpu")
    if name == "slurm":
        return Slurm(parallel or 1, sbatch)
    if name == "local":
        return Local(parallel or 1)
    named = (pods or "").split(",")
    if not all(named) or len(set(named)) < len(named) or any(x.startswith("-") for x in named):
        raise SweepError(
            f"--pods={pods or ''}: give the names of existing pods, each once, as in "
            "--pods=one,two; launch/tpu_pod.sh creates pods"
        )
    if parallel not in (None, len(named)):
        raise SweepError(f"--parallel={parallel}, but one point runs on each of {len(named)} pods")
    return Tpu(named)
