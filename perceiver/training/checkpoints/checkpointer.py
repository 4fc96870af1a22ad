"""Saves the newest few checkpoints and the best one in the background, and verifies them when read.

A checkpoint is a folder named by its step, which appears by a rename once it is complete. Content:

    state/         the arrays by path, written by Orbax
    index.json     shape and dtype of each array
    iterator       the state of the data iterator
    metrics.json   the metrics of the step
    manifest.json  SHA-256 sums of all other files

The state of the data iterator is the same in all processes and independent of their number, so a
checkpoint can be restored by any number of processes.
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

from perceiver.training.checkpoints.folders import CheckpointFolders, Choice, choose_checkpoint
from perceiver.training.checkpoints.manifest import read_verified
from perceiver.training.checkpoints.tree_index import (
    describe_differences,
    flatten,
    host_arrays,
    make_index,
)
from perceiver.training.checkpoints.writer import STATE, CheckpointWriter
from perceiver.training.multiprocess import broadcast_from_first, run_together

Tree = Any
_INDEX, _ITERATOR = "index.json", "iterator"
_MAX_ATTEMPTS = 5  # to restore while another run deletes the chosen checkpoint


class CheckpointError(Exception):
    """A checkpoint could not be written or read, is damaged, or belongs to another model."""


class MissingCheckpointError(CheckpointError):
    """The requested step has no checkpoint, or no checkpoint has the metric of the best one."""


class Checkpoints:
    """The checkpoints in one directory.

    All processes of a run open the same directory on a shared file system and make the same calls.
    Only process 0 writes, verifies and chooses; the other processes use its result. At most one run
    may open a directory for writing. Use as a context manager or call `close`; otherwise the last
    save may be lost.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keep: int,
        best_of: str | None,
        read_only: bool = False,
    ):
        """Opens the directory, creates it if missing, and removes leftovers of a killed run.

        Args:
          directory: absolute or relative path on a local or mounted file system.
          keep: number of the newest checkpoints to keep, at least 1. With 1 there is no fallback
            for a damaged checkpoint.
          best_of: name of a metric, higher is better. The checkpoint with the highest value, the
            newest of equals, is kept in addition. A checkpoint without the metric, or with NaN, is
            never the best.
          read_only: True to read while another run writes, as an evaluator does, with any number
            of processes. Nothing is created, moved, removed or saved.

        Raises:
          ValueError: `keep` is below 1.
          OSError: the directory cannot be created.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}.")
        self._folders = CheckpointFolders(directory, keep=keep, best_of=best_of)
        self._directory = self._folders.directory
        self._best_of = best_of
        self._read_only = read_only
        if not read_only and jax.process_index() == 0:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._folders.remove_leftovers()
        self._writer = CheckpointWriter(self._folders)
        self._arrays = ocp.PyTreeCheckpointHandler()

    def save(
        self,
        step: int,
        state: Tree,
        iterator: bytes,
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Starts writing a checkpoint and returns once the arrays are copied.

        Waits for the previous save first.

        Args:
          step: number of completed steps, larger than the step of every existing checkpoint.
          state: tree of dicts, tuples and NamedTuples with host arrays or numbers as leaves.
          iterator: state of the data iterator at `step`, the same in all processes.
          metrics: metrics of the step, among them `best_of`, if the run was evaluated there.

        Raises:
          CheckpointError: the previous save failed. Its checkpoint does not exist, the earlier ones
            do, and this save has not been started. The files of the failed save are removed with
            the next save or when the directory is opened again.
          ValueError: the step is not new, or a leaf is not a number or an array of numbers.
        """
        if self._read_only:
            raise ValueError(
                f"{self._directory} was opened read-only: open it for writing to save."
            )
        self.wait()
        # Only process 0 checks: when another process checks, this step may already be written.
        latest = self.latest_step() if jax.process_index() == 0 else None
        if latest is not None and step <= latest:
            raise ValueError(
                f"step {step} is not after the newest checkpoint in {self._directory}, {latest}."
            )
        leaves = host_arrays(state)
        files = {_INDEX: json.dumps(make_index(leaves)).encode(), _ITERATOR: iterator}
        metrics = {name: float(value) for name, value in (metrics or {}).items()}
        self._writer.start(step, leaves, metrics, files)

    def restore(
        self,
        abstract_state: Tree,
        step: int | Literal["best"] | None = None,
        *,
        part: Sequence[str] = (),
    ) -> tuple[int, Tree, bytes] | None:
        """Restores a checkpoint into the structure of `abstract_state`, which must fit exactly.

        Every byte is verified against the manifest first. If the newest checkpoint is damaged, the
        newest intact one is restored, with a warning on stderr for each damaged one. If the
        directory is open for writing, the damaged ones are moved to `damaged/`, so that their steps
        can be saved again. If the writing run deletes the checkpoint meanwhile, another is chosen.

        Args:
          abstract_state: the tree to restore, with a `jax.ShapeDtypeStruct` or an array per leaf.
          step: step of the checkpoint; None for the newest, 'best' for the best.
          part: names of parts of the state, for example 'ema'. Only the first of them that the
            checkpoint has is read, and `abstract_state` describes this part. Empty for the whole
            state.

        Returns:
          (step, state as NumPy arrays with the saved dtypes, state of the data iterator); None if
          `step` is None and the directory never had a checkpoint.

        Raises:
          CheckpointError: the checkpoint is missing, is damaged, cannot be read, or differs from
            `abstract_state` in paths, shapes or dtypes, of which the message lists the first; or
            `step` is None and no checkpoint is intact.
          ValueError: `step` is 'best' and there is no `best_of`.
        """
        self.wait()
        if step == "best":
            self._require_best_of()
        expected = flatten(abstract_state)
        for _ in range(_MAX_ATTEMPTS):
            choice = self._choose(step)
            if choice.error:
                raise (MissingCheckpointError if choice.missing else CheckpointError)(choice.error)
            if choice.deleted:
                continue
            if choice.step is None:
                return None
            try:
                leaves, iterator = self._read(choice.step, expected, part)
            except CheckpointError:
                if step == choice.step or broadcast_from_first(
                    self._folders.path(choice.step).exists
                ):
                    raise
                continue
            tree = jax.tree.structure(abstract_state)
            return choice.step, jax.tree.unflatten(tree, leaves), iterator
        raise CheckpointError(
            f"{_MAX_ATTEMPTS} checkpoints in {self._directory} were deleted while they were read: "
            "let the run that writes there keep more of them."
        )

    def steps(self) -> list[int]:
        """Returns the steps of the finished checkpoints in ascending order."""
        return self._folders.steps()

    def latest_step(self) -> int | None:
        """Returns the newest of `steps`, None if there is none."""
        return max(self.steps(), default=None)

    def best_step(self) -> int | None:
        """Returns the step with the highest `best_of`, None if no checkpoint has the metric.

        Waits for the current save first.

        Raises:
          CheckpointError: the save failed, or the metrics of a checkpoint are damaged.
          ValueError: there is no `best_of`.
        """
        self._require_best_of()
        self.wait()
        with self._wrapped_errors("find the best checkpoint in"):
            return self._folders.best_step()

    def wait(self) -> None:
        """Waits until the current save is written and the expired checkpoints are removed.

        Raises:
          CheckpointError: a save failed.
        """
        with self._wrapped_errors("finish saving in"):
            self._writer.wait()

    def close(self) -> None:
        """Waits for the current save and ends the background threads; may be called again.

        Raises:
          CheckpointError: a save failed.
        """
        try:
            self.wait()
        finally:
            with self._wrapped_errors("finish saving in"):  # Orbax may raise the error again
                self._writer.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _choose(self, step: int | Literal["best"] | None) -> Choice:
        """Returns the choice of process 0 in all processes."""

        def choose() -> dict[str, Any]:
            return choose_checkpoint(
                self._folders, step, move_damaged=not self._read_only
            )._asdict()

        return Choice(**broadcast_from_first(choose))

    def _read(
        self, step: int, expected: dict[str, Any], part: Sequence[str]
    ) -> tuple[list[np.ndarray], bytes]:
        """Reads the arrays, in the order of `expected`, and the state of the data iterator."""
        folder = self._folders.path(step)

        def load_index() -> dict[str, dict]:
            return json.loads(read_verified(folder, _INDEX))

        def load() -> tuple[dict[str, np.ndarray], bytes]:
            arrays = self._arrays.restore(
                epath.Path(folder / STATE),
                args=ocp.args.PyTreeRestore(
                    read,
                    restore_args={p: ocp.RestoreArgs(restore_type=np.ndarray) for p in read},
                    partial_restore=bool(part),
                ),
            )
            return arrays, read_verified(folder, _ITERATOR)

        with self._wrapped_errors(f"restore step {step} from"):
            index = run_together(load_index)
        for name in part:
            inside = {path: x for path, x in index.items() if path.startswith(f"{name}/")}
            if inside:
                index = inside
                expected = {f"{name}/{path}": leaf for path, leaf in expected.items()}
                break
        differences = describe_differences(index, make_index(expected))
        if differences:
            raise CheckpointError(
                f"step {step} in {self._directory} is of another model: {differences}. "
                "Restore with the config it was trained with, or start in a new directory."
            )
        read = {path: leaf for path, leaf in expected.items() if math.prod(leaf.shape)}
        with self._wrapped_errors(f"restore step {step} from"):
            arrays, iterator = run_together(load)
        leaves = [
            np.asarray(arrays[path]) if path in read else np.zeros(x.shape, x.dtype)
            for path, x in expected.items()
        ]
        return leaves, iterator

    def _require_best_of(self) -> None:
        if self._best_of is None:
            raise ValueError("there is no best checkpoint without best_of: name a metric.")

    @contextmanager
    def _wrapped_errors(self, action: str) -> Iterator[None]:
        """Turns the errors of Orbax and the file system into one line with the path."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(f"could not {action} {self._directory}: {reason}") from error
