"""Where the points of a sweep run: on this machine, as jobs of SLURM, or on TPU pods.

Each launcher says how a point is started and how it is stopped; its command lasts as long as the
point trains, and ends with the status of experiments.train.
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
    """How points run; places are numbered from 0 to `places` - 1, with one point in each."""

    places: int

    def command(self, folder: Path, flags: Sequence[str], place: int) -> list[str]:
        """What trains a point, to be run in the repository root."""

    def environment(self, place: int) -> Mapping[str, str]:
        """What is set for the command, beside the environment of the sweep."""

    def stop(self, folder: Path, place: int) -> list[list[str]]:
        """Commands that ask a point to save and end; none where a signal to its command does."""


class Local:
    """Processes of this machine, `places` at once."""

    def __init__(self, places: int):
        """Shares the GPUs of CUDA_VISIBLE_DEVICES out, as a process takes the whole of each.

        Raises:
          SweepError: they can't be shared out evenly.
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
    """Jobs of SLURM by launch/slurm.sbatch, `places` in the queue at once."""

    def __init__(self, places: int, flags: Sequence[str]):
        """`flags` go to sbatch, as they are."""
        self.places = places
        self._flags = flags

    def command(self, folder: Path, flags: Sequence[str], place: int) -> list[str]:
        """See `Launcher`.

        A job waits for one of the same name: where a sweep was killed and started again, the job
        that it left behind and the new one don't train in one folder.
        """
        log = str(folder / "output.log").replace("%", "%%")  # % begins sbatch's own patterns
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
        # The first is how launch/slurm.sbatch is stopped for good; what waits doesn't hear it.
        return [
            ["scancel", "--batch", "--signal=TERM", "--state=RUNNING", job],
            ["scancel", "--state=PENDING", job],
        ]


def _job(folder: Path) -> str:
    """A name that no other folder's job has."""
    return f"sweep-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


class Tpu:
    """TPU pods by launch/tpu_pod.sh, that are there already; a point at a time on each."""

    def __init__(self, pods: Sequence[str]):
        """`pods` are their names."""
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
    """A launcher by its name.

    Args:
      name: 'local', 'slurm' or 'tpu'.
      parallel: how many points at once; None is 1, or one on each pod.
      pods: names of pods, with commas between them; for tpu, and for it alone.
      sbatch: flags of sbatch; for slurm alone.

    Raises:
      SweepError: these don't go together.
    """
    if parallel is not None and parallel < 1:
        raise SweepError(f"--parallel={parallel}: one point at once is the least")
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
            f"--pods={pods or ''}: give the names of pods that are there, each once, as in "
            "--pods=one,two; launch/tpu_pod.sh makes them"
        )
    if parallel not in (None, len(named)):
        raise SweepError(f"--parallel={parallel}, but a point runs on each of {len(named)} pods")
    return Tpu(named)
