"""The folders of a run's checkpoints: `checkpoints/STEP`, each whole from the moment it appears.

A checkpoint is written as `STEP.unfinished` and renamed once its manifest is there. One that is no
longer kept is renamed into `deleted/` before its files go, one that is found damaged into
`damaged/`, where it stays. So whatever the moment of a kill, a folder named by a step is either
whole or was damaged by something else. Only process 0 of the one run that trains changes anything.
"""

import json
import math
import os
import shutil
import sys
from pathlib import Path

from perceiver.training.checkpoints.manifest import damage, read_listed, write_manifest

_METRICS = "metrics.json"
_UNFINISHED = ".unfinished"
_DELETED = "deleted"
_DAMAGED = "damaged"


class CheckpointFolders:
    """The checkpoints in one directory, as files.

    Attributes:
      directory: the directory, absolute.
      best_of: the metric of the best checkpoint, None where none is kept for it.
    """

    def __init__(self, directory: str | Path, *, keep: int, best_of: str | None):
        """Touches nothing.

        Args:
          directory: where they are, on a local or a mounted file system that can rename folders.
          keep: how many of the newest to keep.
          best_of: a metric; the checkpoint with the highest, the newest of equals, is kept as well.
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
        """Returns the steps of the finished checkpoints, rising."""
        listed = self._listed()
        # A listing made while another run renames can miss the new one and the one it replaces.
        while (again := self._listed()) != listed:
            listed = again
        return listed

    def damaged(self) -> list[str]:
        """Returns the names of what `set_aside` moved."""
        folder = self.directory / _DAMAGED
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def remove_leftovers(self) -> None:
        """Removes what a killed run or a failed save left half-written or half-deleted."""
        for path in [*self.directory.glob(f"*{_UNFINISHED}*"), self.directory / _DELETED]:
            if path.is_dir():
                shutil.rmtree(path)

    def finish(self, step: int, metrics: dict[str, float], files: dict[str, bytes]) -> None:
        """Makes `unfinished(step)` a checkpoint, then deletes those that are no longer kept.

        Args:
          step: whose arrays are written.
          metrics: figures of that step; empty if the run was not evaluated there.
          files: what else belongs into the folder, by name.

        Raises:
          OSError: something cannot be written, and there is no such checkpoint; or there is, and an
            old one cannot be deleted.
        """
        folder = self.unfinished(step)
        files = files | {_METRICS: json.dumps(metrics).encode()}
        for name, contents in files.items():
            (folder / name).write_bytes(contents)
        write_manifest(folder)
        folder.rename(self.path(step))
        deleted = self.directory / _DELETED
        for old in self._not_kept():
            # Deleting takes a while; a run killed meanwhile would leave part of a checkpoint.
            deleted.mkdir(exist_ok=True)
            self.path(old).rename(deleted / str(old))
        self.remove_leftovers()

    def set_aside(self, step: int) -> Path:
        """Moves a damaged checkpoint out of the way, and returns where it is now."""
        folder = self.directory / _DAMAGED
        folder.mkdir(exist_ok=True)
        target, copies = folder / str(step), 1
        while target.exists():
            copies += 1
            target = folder / f"{step}.{copies}"
        self.path(step).rename(target)
        return target

    def damage(self, step: int) -> str | None:
        """Says what is wrong with a checkpoint, None where it is whole; see `manifest.damage`."""
        return damage(self.path(step))

    def best_step(self) -> int | None:
        """Returns the step with the highest `best_of`, None where no checkpoint has it.

        Raises:
          ValueError, OSError: the metrics of a checkpoint cannot be read; the message names them.
        """
        scored = [(self._score(step), step) for step in self.steps()]
        score, step = max(scored, default=(-math.inf, None))
        return step if score > -math.inf else None

    def _listed(self) -> list[int]:
        if not self.directory.is_dir():
            return []
        with os.scandir(self.directory) as entries:
            return sorted(int(e.name) for e in entries if e.name.isdecimal() and e.is_dir())

    def _not_kept(self) -> list[int]:
        """The steps that are neither among the newest nor the best."""
        steps = self.steps()
        kept = set(steps[-self._keep :])
        if self.best_of is not None:
            scored = []
            for step in steps:
                try:
                    scored.append((self._score(step), step))
                except (ValueError, OSError) as error:
                    # It may be the best: not one to delete, nor a reason to fail to save.
                    print(f"warning: step {step} is kept: {error}", file=sys.stderr)
                    kept.add(step)
            score, best = max(scored, default=(-math.inf, None))
            if score > -math.inf:
                kept.add(best)
        return [step for step in steps if step not in kept]

    def _score(self, step: int) -> float:
        """The metric to keep the best of, -inf where there is none."""
        try:
            metrics = json.loads(read_listed(self.path(step), _METRICS))
        except ValueError:
            if self.path(step).exists():
                raise
            return -math.inf  # deleted meanwhile, by the run that writes
        score = metrics.get(self.best_of, math.nan)
        return -math.inf if math.isnan(score) else score
