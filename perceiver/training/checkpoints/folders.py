"""The folders of the checkpoints of a run, `checkpoints/STEP`, and the choice of one to restore.

A checkpoint is written as `STEP.unfinished` and renamed once its manifest is written. A checkpoint
that is no longer kept is renamed into `deleted/` before its files are deleted. A damaged checkpoint
is moved to `damaged/` and stays there. So at whatever moment the run is killed, a folder named by a
step is complete, unless something else damaged it. Only process 0 of the run that trains changes
anything.
"""

import json
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Literal, NamedTuple

from perceiver.training.checkpoints.manifest import find_damage, read_verified, write_manifest

_METRICS = "metrics.json"
_UNFINISHED = ".unfinished"
_DELETED = "deleted"
_DAMAGED = "damaged"


class CheckpointFolders:
    """The checkpoints in one directory, as files.

    Attributes:
      directory: the absolute path of the directory.
      best_of: name of the metric of the best checkpoint; None if no best checkpoint is kept.
    """

    def __init__(self, directory: str | Path, *, keep: int, best_of: str | None):
        """Sets the arguments; reads and writes nothing.

        Args:
          directory: path on a local or mounted file system that can rename folders.
          keep: number of the newest checkpoints to keep.
          best_of: name of a metric; the checkpoint with the highest value, the newest of equals, is
            kept in addition to the newest ones.
        """
        self.directory = Path(directory).absolute()
        self._keep = keep
        self.best_of = best_of

    def path(self, step: int) -> Path:
        """Returns the folder of a finished checkpoint."""
        return self.directory / str(step)

    def unfinished(self, step: int) -> Path:
        """Returns the folder of a checkpoint that is being written."""
        return self.directory / f"{step}{_UNFINISHED}"

    def steps(self) -> list[int]:
        """Returns the steps of the finished checkpoints in ascending order."""
        listed = self._list_steps()
        # A listing made while another run renames can miss the new folder and the one it replaces.
        while (again := self._list_steps()) != listed:
            listed = again
        return listed

    def damaged_names(self) -> list[str]:
        """Returns the names of the checkpoints that `set_aside` moved."""
        folder = self.directory / _DAMAGED
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def remove_leftovers(self) -> None:
        """Removes folders that a killed run or a failed save left half-written or half-deleted."""
        for path in [*self.directory.glob(f"*{_UNFINISHED}*"), self.directory / _DELETED]:
            if path.is_dir():
                shutil.rmtree(path)

    def finish(self, step: int, metrics: dict[str, float], files: dict[str, bytes]) -> None:
        """Makes `unfinished(step)` a checkpoint, then deletes the checkpoints that have expired.

        Args:
          step: the step, whose arrays have been written.
          metrics: metrics of the step; empty if the run was not evaluated there.
          files: content of the other files of the checkpoint, by name.

        Raises:
          OSError: a file cannot be written, and the checkpoint does not exist; or an old checkpoint
            cannot be deleted, and the new one exists.
        """
        folder = self.unfinished(step)
        files = files | {_METRICS: json.dumps(metrics).encode()}
        for name, contents in files.items():
            (folder / name).write_bytes(contents)
        write_manifest(folder)
        folder.rename(self.path(step))
        deleted = self.directory / _DELETED
        for old in self._expired():
            # Deleting takes a while; a run killed meanwhile would leave part of a checkpoint.
            deleted.mkdir(exist_ok=True)
            self.path(old).rename(deleted / str(old))
        self.remove_leftovers()

    def set_aside(self, step: int) -> Path:
        """Moves a damaged checkpoint to `damaged/` and returns its new path."""
        folder = self.directory / _DAMAGED
        folder.mkdir(exist_ok=True)
        target, copies = folder / str(step), 1
        while target.exists():
            copies += 1
            target = folder / f"{step}.{copies}"
        self.path(step).rename(target)
        return target

    def find_damage(self, step: int) -> str | None:
        """Describes the damage of a checkpoint, None if intact; see `manifest.find_damage`."""
        return find_damage(self.path(step))

    def best_step(self) -> int | None:
        """Returns the step with the highest `best_of`, None if no checkpoint has the metric.

        Raises:
          ValueError, OSError: the metrics of a checkpoint cannot be read; the message names the
            file.
        """
        scored = [(self._score(step), step) for step in self.steps()]
        score, step = max(scored, default=(-math.inf, None))
        return step if score > -math.inf else None

    def _list_steps(self) -> list[int]:
        if not self.directory.is_dir():
            return []
        with os.scandir(self.directory) as entries:
            return sorted(int(e.name) for e in entries if e.name.isdecimal() and e.is_dir())

    def _expired(self) -> list[int]:
        """Returns the steps that are neither among the newest nor the best."""
        steps = self.steps()
        retained = set(steps[-self._keep :])
        if self.best_of is not None:
            scored = []
            for step in steps:
                try:
                    scored.append((self._score(step), step))
                except (ValueError, OSError) as error:
                    # It may be the best: neither delete it nor fail to save.
                    print(f"warning: step {step} is kept: {error}", file=sys.stderr)
                    retained.add(step)
            score, best = max(scored, default=(-math.inf, None))
            if best is not None and score > -math.inf:
                retained.add(best)
        return [step for step in steps if step not in retained]

    def _score(self, step: int) -> float:
        """Returns the value of `best_of` at a step, -inf if there is none."""
        try:
            metrics = json.loads(read_verified(self.path(step), _METRICS))
        except ValueError:
            if self.path(step).exists():
                raise
            return -math.inf  # deleted meanwhile by the run that writes
        score = metrics.get(self.best_of, math.nan)
        return -math.inf if math.isnan(score) else score


class Choice(NamedTuple):
    """The result of `choose_checkpoint`.

    Attributes:
      step: step of an intact checkpoint; None if there is none.
      error: message for the user if nothing can be restored.
      deleted: True if the writing run deleted a checkpoint during the check; choose again.
      missing: True if the error is that the requested checkpoint does not exist.
    """

    step: int | None = None
    error: str | None = None
    deleted: bool = False
    missing: bool = False


def choose_checkpoint(
    folders: CheckpointFolders, requested: int | Literal["best"] | None, *, move_damaged: bool
) -> Choice:
    """Chooses the checkpoint to restore, and reads all of it to verify its checksums.

    If the newest is requested and is damaged, the newest intact one is chosen, and a line on stderr
    names each damaged one.

    Args:
      folders: the checkpoints.
      requested: a step, 'best', or None for the newest.
      move_damaged: True to move the damaged checkpoints to `damaged/`.
    """
    try:
        if requested is None:
            return _choose_newest(folders, move_damaged)
        return _choose_requested(folders, requested)
    except (ValueError, OSError) as error:
        return Choice(error=f"could not read the checkpoints in {folders.directory}: {error}")


def _choose_requested(folders: CheckpointFolders, requested: int | Literal["best"]) -> Choice:
    best = requested == "best"
    step = folders.best_step() if requested == "best" else requested
    steps = folders.steps()
    if step is None or (step not in steps and not best):
        kind = f"checkpoint with {folders.best_of!r}" if best else f"step {step}"
        error = f"there is no {kind} in {folders.directory}, only steps {steps}"
        return Choice(error=error, missing=True)
    damage = folders.find_damage(step)
    if damage is None:
        return Choice(step)
    if best and not folders.path(step).exists():
        return Choice(deleted=True)
    return Choice(
        error=f"step {step} in {folders.directory} is damaged: {damage}. Choose another step, or "
        "the newest, which falls back to one that is whole."
    )


def _choose_newest(folders: CheckpointFolders, move_damaged: bool) -> Choice:
    damages: dict[int, str] = {}
    for step in reversed(folders.steps()):
        damage = folders.find_damage(step)
        if damage is None:
            for damaged, description in damages.items():
                line = f"warning: step {damaged} in {folders.directory} is damaged: {description}; "
                line += f"moved to {folders.set_aside(damaged)}; " if move_damaged else ""
                print(f"{line}using step {step}", file=sys.stderr, flush=True)
            return Choice(step)
        if not folders.path(step).exists():
            return Choice(deleted=True)
        damages[step] = damage
    descriptions = [f"step {step}: {damage}" for step, damage in damages.items()]
    descriptions += [f"{name} was damaged before" for name in folders.damaged_names()]
    if not descriptions:
        return Choice()
    # Nothing is moved: the next start would find an empty directory and begin a new run.
    return Choice(
        error=f"no checkpoint in {folders.directory} is whole ({'; '.join(descriptions)}). Restore "
        "one from a copy, or start in a new directory."
    )
