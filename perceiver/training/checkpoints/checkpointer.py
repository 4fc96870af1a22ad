"""Checkpoints of a run: the newest few and the best, written in the background, checked when read.

A checkpoint is one folder, named by its step, that appears by a rename when all of it is written.
In it: `state/`, the arrays, by path, written by Orbax; `index.json`, every array's shape and dtype;
`iterator`, the state of the data iterator; `metrics.json`; `manifest.json`, the SHA-256 sums of all
these. The state of the data iterator is the same in all processes and fits any number of them, so a
checkpoint does too.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from perceiver.training.checkpoints.choice import Choice, choose
from perceiver.training.checkpoints.folders import CheckpointFolders
from perceiver.training.checkpoints.manifest import read_listed
from perceiver.training.checkpoints.orbax_log import quieten_orbax
from perceiver.training.checkpoints.tree_index import differences, flatten, host_arrays, index_of
from perceiver.training.checkpoints.writer import STATE, CheckpointWriter
from perceiver.training.multiprocess import from_first, together

Tree = Any
_INDEX, _ITERATOR = "index.json", "iterator"
_LOOKS = 5  # at a directory whose checkpoints another run deletes as they are read


class CheckpointError(Exception):
    """A checkpoint could not be written or read, is damaged, or belongs to another model."""


class MissingCheckpointError(CheckpointError):
    """There is no checkpoint of the step that was asked for, or none that could be the best."""


class Checkpoints:
    """The checkpoints in one directory.

    All processes of a run open the same directory, on a file system that they share, and make the
    same calls; process 0 alone writes, checks and chooses, and the others go by what it found. At
    most one run may have a directory open for writing. Use as a context manager or call `close`,
    or the last save may be lost.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keep: int,
        best_of: str | None,
        read_only: bool = False,
    ):
        """Opens the directory, makes it if missing, and removes what a killed run left half-done.

        Args:
          directory: an absolute or relative path on a local or mounted file system.
          keep: how many of the newest checkpoints to keep, at least 1. With 1 there is none to fall
            back on when it is damaged.
          best_of: name of a metric, higher is better; the checkpoint with the highest (the newest
            of equals) is kept as well. A checkpoint saved without it, or with NaN, is never best.
          read_only: open beside the run that writes, as an evaluator does, with any number of
            processes: nothing is made, moved, removed or saved.

        Raises:
          ValueError: `keep` below 1.
          OSError: the directory cannot be made.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}.")
        quieten_orbax()
        self._folders = CheckpointFolders(directory, keep=keep, best_of=best_of)
        self._directory = self._folders.directory
        self._best_of = best_of
        self._read_only = read_only
        if not read_only and jax.process_index() == 0:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._folders.remove_leftovers()
        self._arrays = ocp.PyTreeCheckpointHandler()
        self._writer = CheckpointWriter(self._folders)

    def save(
        self,
        step: int,
        state: Tree,
        iterator: bytes,
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Starts writing a checkpoint and returns once the arrays are copied.

        A save that is still under way is finished first.

        Args:
          step: completed steps, more than those of every checkpoint there is.
          state: tree of dicts, tuples and NamedTuples with host arrays or numbers at its leaves.
          iterator: the data iterator as it was at `step`, the same in all processes.
          metrics: what `best_of` looks at, if the run was evaluated at `step`.

        Raises:
          CheckpointError: the save before this one failed, from whatever cause. That checkpoint
            does not exist, the ones before it do, and this one has not been started. What was
            written of it is removed when the next is saved or the directory next opened.
          ValueError: a step that is not new, or a leaf that is not a number or an array of numbers.
        """
        if self._read_only:
            raise ValueError(
                f"{self._directory} was opened read-only: open it for writing to save."
            )
        self.wait()
        # Only process 0 looks: by the time that another does, it may have written this very step.
        latest = self.latest_step() if jax.process_index() == 0 else None
        if latest is not None and step <= latest:
            raise ValueError(
                f"step {step} is not after the newest checkpoint in {self._directory}, {latest}."
            )
        leaves = host_arrays(state)
        files = {_INDEX: json.dumps(index_of(leaves)).encode(), _ITERATOR: iterator}
        metrics = {name: float(value) for name, value in (metrics or {}).items()}
        self._writer.start(step, leaves, metrics, files)

    def restore(
        self,
        abstract_state: Tree,
        step: int | Literal["best"] | None = None,
        *,
        part: Sequence[str] = (),
    ) -> tuple[int, Tree, bytes] | None:
        """Reads a whole checkpoint into the structure of `abstract_state`, if it fits exactly.

        Every byte is checked against the manifest first. Where the newest is damaged the newest
        whole one is taken, with a warning on stderr for each that is not; opened for writing, those
        are moved to `damaged/`, so that their steps can be saved again. A checkpoint that the run
        beside deletes as it is read is no error: the next choice is taken.

        Args:
          abstract_state: the wanted tree with a `jax.ShapeDtypeStruct` (or an array) at each leaf.
          step: which checkpoint; None for the newest, 'best' for the best.
          part: names of parts of the state, such as 'ema'. The first of them that the checkpoint
            has is read alone, and `abstract_state` is that of it. Empty for the whole state.

        Returns:
          (step, state as NumPy arrays in the dtypes saved, the iterator's state); None where `step`
          is None and there was never a checkpoint.

        Raises:
          CheckpointError: the checkpoint is missing, damaged, cannot be read, or has other paths,
            shapes or dtypes than `abstract_state`, of which the message lists the first; or `step`
            is None and none is whole.
          ValueError: 'best' without a `best_of`.
        """
        self.wait()
        if step == "best":
            self._require_best_of()
        wanted = flatten(abstract_state)
        for _ in range(_LOOKS):
            choice = self._choose(step)
            if choice.error:
                raise (MissingCheckpointError if choice.missing else CheckpointError)(choice.error)
            if choice.gone:
                continue
            if choice.step is None:
                return None
            try:
                leaves, iterator = self._read(choice.step, wanted, part)
            except CheckpointError:
                if step == choice.step or from_first(self._folders.path(choice.step).exists):
                    raise
                continue
            tree = jax.tree.structure(abstract_state)
            return choice.step, jax.tree.unflatten(tree, leaves), iterator
        raise CheckpointError(
            f"{_LOOKS} checkpoints in {self._directory} were deleted while they were read: let the "
            "run that writes there keep more of them."
        )

    def steps(self) -> list[int]:
        """Returns the steps with a checkpoint, rising; one still being written is not counted."""
        return self._folders.steps()

    def latest_step(self) -> int | None:
        """Returns the newest of `steps`, None where there is none."""
        return max(self.steps(), default=None)

    def best_step(self) -> int | None:
        """Returns the step with the highest `best_of`, None where no checkpoint has it.

        Waits for a save under way.

        Raises:
          CheckpointError: that save failed, or the metrics of a checkpoint are damaged.
          ValueError: there is no `best_of`.
        """
        self._require_best_of()
        self.wait()
        with self._failures_of("find the best checkpoint in"):
            return self._folders.best_step()

    def wait(self) -> None:
        """Waits until everything started is written, and checkpoints no longer kept are removed.

        Raises:
          CheckpointError: a save failed.
        """
        with self._failures_of("finish saving in"):
            self._writer.wait()

    def close(self) -> None:
        """Waits as `wait` does and ends the background threads; may be called again.

        Raises:
          CheckpointError: a save failed.
        """
        try:
            self.wait()
        finally:
            with self._failures_of("finish saving in"):  # Orbax may say it again
                self._writer.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _choose(self, step: int | Literal["best"] | None) -> Choice:
        """What process 0 finds, in all processes."""
        found = from_first(lambda: choose(self._folders, step, move=not self._read_only)._asdict())
        return Choice(**found)

    def _read(
        self, step: int, wanted: dict[str, Any], part: Sequence[str]
    ) -> tuple[list[np.ndarray], bytes]:
        """Reads the arrays, in the order of `wanted`, and the iterator's state."""
        folder = self._folders.path(step)

        def load_index() -> dict[str, dict]:
            return json.loads(read_listed(folder, _INDEX))

        def load() -> tuple[dict[str, np.ndarray], bytes]:
            arrays = self._arrays.restore(
                epath.Path(folder / STATE),
                args=ocp.args.PyTreeRestore(
                    read,
                    restore_args={p: ocp.RestoreArgs(restore_type=np.ndarray) for p in read},
                    partial_restore=bool(part),
                ),
            )
            return arrays, read_listed(folder, _ITERATOR)

        with self._failures_of(f"restore step {step} from"):
            index = together(load_index)
        for name in part:
            inside = {path: x for path, x in index.items() if path.startswith(f"{name}/")}
            if inside:
                index = inside
                wanted = {f"{name}/{path}": leaf for path, leaf in wanted.items()}
                break
        unlike = differences(index, index_of(wanted))
        if unlike:
            raise CheckpointError(
                f"step {step} in {self._directory} is of another model: {unlike}. "
                "Restore with the config it was trained with, or start in a new directory."
            )
        read = {path: leaf for path, leaf in wanted.items() if math.prod(leaf.shape)}
        with self._failures_of(f"restore step {step} from"):
            arrays, iterator = together(load)
        leaves = [
            np.asarray(arrays[path]) if path in read else np.zeros(x.shape, x.dtype)
            for path, x in wanted.items()
        ]
        return leaves, iterator

    def _require_best_of(self) -> None:
        if self._best_of is None:
            raise ValueError("there is no best checkpoint without best_of: name a metric.")

    @contextmanager
    def _failures_of(self, action: str) -> Iterator[None]:
        """Turns whatever Orbax and the file system raise into one line with the path."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(f"could not {action} {self._directory}: {reason}") from error
