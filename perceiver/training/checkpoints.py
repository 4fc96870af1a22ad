"""Checkpoints of a run: the newest few and the best, written in the background by Orbax.

A checkpoint is one folder, named by its step, that appears by a rename when all of it is written.
Items in it: `state`, the arrays, by path; `index`, every array's shape and dtype; `iterator`, the
state of the data iterator of every process; `metrics`.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from perceiver.training.iterator_files import IteratorRestore, IteratorSave
from perceiver.training.tree_index import differences, flatten, index_of

Tree = Any
_DELETED = "deleted"  # folder for checkpoints on their way out


class CheckpointError(Exception):
    """A checkpoint could not be written or read, or belongs to another model."""


class Checkpoints:
    """The checkpoints in one directory.

    All processes of a run open the same directory and make the same calls; host arrays are written
    by process 0 alone. At most one run may have a directory open for writing. Use as a context
    manager or call `close`, or the last save may be lost.
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
          directory: an absolute or relative path, or a gs:// one.
          keep: how many of the newest checkpoints to keep, at least 1.
          best_of: name of a metric, higher is better; the checkpoint with the highest (the newest
            of equals) is kept as well. A checkpoint saved without it, or with NaN, is never best.
          read_only: open beside the run that writes, as an evaluator does, with any number of
            processes: nothing is made, removed or saved, `restore` leaves the data iterator alone,
            and `steps`, `latest_step` and `best_step` look at the directory again.

        Raises:
          ValueError: `keep` below 1.
          OSError: the directory cannot be made.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}.")
        _quieten_orbax()
        directory = epath.Path(directory)
        # Orbax insists on absolute paths; those with a scheme are.
        self._directory = directory if "://" in str(directory) else directory.absolute()
        self._best_of = best_of
        self._read_only = read_only
        if not read_only:
            self._remove(f"*{ocp.utils.TMP_DIR_SUFFIX}*", _DELETED)
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                create=not read_only,
                # Where there is no rename, as on gs://, Orbax knows what is unfinished.
                cleanup_tmp_directories=not read_only,
                # Without a best_fn Orbax writes no metrics.
                best_fn=self._score,
                preservation_policy=_NewestAndBest(keep, self._score if best_of else None),
                # Orbax deletes file by file; a run killed in the middle would leave part of a
                # checkpoint under its name. A rename is all or nothing.
                todelete_subdir=_DELETED,
            ),
        )

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
          iterator: this process's data iterator as it was at `step`.
          metrics: what `best_of` looks at, if the run was evaluated at `step`.

        Raises:
          CheckpointError: the save before this one failed. That checkpoint does not exist, the
            ones before it do, and this one has not been started. What was written of it is removed
            when the directory is next opened.
          ValueError: a step that is not new, or a leaf that is not a number or an array of numbers.
        """
        if self._read_only:
            raise ValueError(
                f"{self._directory} was opened read-only: open it for writing to save."
            )
        self.wait()
        latest = self.latest_step()
        if latest is not None and step <= latest:
            raise ValueError(
                f"step {step} is not after the newest checkpoint in {self._directory}, {latest}."
            )
        leaves = {path: _host_array(path, leaf) for path, leaf in flatten(state).items()}
        with self._failures_of(f"save step {step} in"):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    # Orbax refuses arrays without elements; the index has all there is to them.
                    state=ocp.args.PyTreeSave({p: x for p, x in leaves.items() if x.size}),
                    index=ocp.args.JsonSave(index_of(leaves)),
                    iterator=IteratorSave(iterator),
                ),
                metrics=None if metrics is None else {k: float(v) for k, v in metrics.items()},
                force=True,  # Orbax would skip, in silence, a step it finds no reason to save
            )

    def restore(
        self, abstract_state: Tree, step: int | Literal["best"] | None = None
    ) -> tuple[int, Tree, bytes] | None:
        """Reads a checkpoint into the structure of `abstract_state`, and only if it fits exactly.

        Args:
          abstract_state: the wanted tree with a `jax.ShapeDtypeStruct` (or an array) at each leaf.
          step: which checkpoint; None for the newest, 'best' for the best.

        Returns:
          (step, state as NumPy arrays in the dtypes saved, this process's iterator state or, opened
          read-only, b""); None where `step` is None and there is no checkpoint.

        Raises:
          CheckpointError: the checkpoint is missing, cannot be read, or has other paths, shapes or
            dtypes than `abstract_state`; the message lists the first of them.
          ValueError: 'best' without a `best_of`.
        """
        self.wait()
        wanted = flatten(abstract_state)
        step = self._find(step)
        if step is None:
            return None
        with self._failures_of(f"restore step {step} from"):
            index = self._manager.restore(
                step, args=ocp.args.Composite(index=ocp.args.JsonRestore())
            ).index
        unlike = differences(index, index_of(wanted))
        if unlike:
            raise CheckpointError(
                f"step {step} in {self._directory} is of another model: {unlike}. "
                "Restore with the config it was trained with, or start in a new directory."
            )
        read = {path: leaf for path, leaf in wanted.items() if math.prod(leaf.shape)}
        with self._failures_of(f"restore step {step} from"):
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeRestore(
                        read,
                        restore_args={p: ocp.RestoreArgs(restore_type=np.ndarray) for p in read},
                    ),
                    **({} if self._read_only else {"iterator": IteratorRestore()}),
                ),
            )
        arrays = {
            path: np.asarray(restored.state[path]) if path in read else np.zeros(x.shape, x.dtype)
            for path, x in wanted.items()
        }
        unlike = differences(index_of(arrays), index)
        if unlike:
            raise CheckpointError(
                f"step {step} in {self._directory} is damaged: its arrays are not those of its "
                f"index: {unlike}. Remove it to go on from an older one."
            )
        state = jax.tree.unflatten(jax.tree.structure(abstract_state), arrays.values())
        return step, state, b"" if self._read_only else restored.iterator

    def steps(self) -> list[int]:
        """Returns the steps with a checkpoint, rising; one still being written is counted."""
        if self._read_only:
            self._manager.reload()
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """Returns the newest of `steps`, None where there is none."""
        return max(self.steps(), default=None)

    def best_step(self) -> int | None:
        """Returns the step with the highest `best_of`, None where no checkpoint has it.

        Waits for a save under way.

        Raises:
          CheckpointError: that save failed.
          ValueError: there is no `best_of`.
        """
        if self._best_of is None:
            raise ValueError("there is no best checkpoint without best_of: name a metric.")
        self.wait()
        scored = [(self._score(self._manager.metrics(step)), step) for step in self.steps()]
        score, step = max(scored, default=(-math.inf, None))
        return step if score > -math.inf else None

    def wait(self) -> None:
        """Waits until everything started is written, and removes checkpoints no longer kept.

        Raises:
          CheckpointError: a save failed.
        """
        with self._failures_of("finish saving in"):
            try:
                self._manager.wait_until_finished()
            except Exception:
                self._manager.reload()  # Orbax already forgot the ones this save was to replace
                raise
        if not self._read_only:
            self._remove(_DELETED)

    def close(self) -> None:
        """Waits as `wait` does and ends the background threads; may be called again.

        Raises:
          CheckpointError: a save failed.
        """
        try:
            self.wait()
        finally:
            self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _find(self, step: int | Literal["best"] | None) -> int | None:
        """Turns what the caller asked for into a step there is."""
        if step is None:
            return self.latest_step()
        steps = self.steps()
        found = self.best_step() if step == "best" else step
        if found not in steps:
            kind = f"checkpoint with {self._best_of!r}" if step == "best" else f"step {step}"
            raise CheckpointError(f"there is no {kind} in {self._directory}, only steps {steps}.")
        return found

    def _score(self, metrics: dict[str, float] | None) -> float:
        """The metric to keep the best of, -inf where there is none."""
        score = (metrics or {}).get(self._best_of)
        return -math.inf if score is None or math.isnan(score) else score

    def _remove(self, *patterns: str) -> None:
        """Removes the folders with such names, in process 0."""
        if jax.process_index() == 0 and self._directory.exists():
            for pattern in patterns:
                for path in list(self._directory.glob(pattern)):
                    path.rmtree()

    @contextmanager
    def _failures_of(self, action: str) -> Iterator[None]:
        """Turns whatever Orbax and the file system raise into one line with the path."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(f"could not {action} {self._directory}: {reason}") from error


class _NewestAndBest(ocp.checkpoint_managers.PreservationPolicy):
    """Keeps the newest few checkpoints and the one with the highest score."""

    def __init__(self, keep, score):
        self._keep = keep
        self._score = score

    def should_preserve(self, checkpoints: Sequence, *, context) -> list[bool]:
        del context
        order = sorted(range(len(checkpoints)), key=lambda i: checkpoints[i].step)
        kept = set(order[-self._keep :])
        if self._score:
            scored = [(self._score(checkpoints[i].metrics), checkpoints[i].step, i) for i in order]
            score, _, best = max(scored)
            if score > -math.inf:
                kept.add(best)
        return [i in kept for i in range(len(checkpoints))]


_NOT_WARNINGS = (
    "did not provide metrics",  # said of every save without metrics, which is most of them
    "Waiting for previous save to complete",  # said after `Checkpoints.wait`, which means to wait
)


class _OrbaxChatter(logging.Filter):
    """Drops what Orbax says of its own progress into the log that it shares with the program.

    Its warnings stay, but not the trace that every thread on the way logs of one error: that error
    is raised by the next call.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if "orbax" not in record.pathname:
            return True
        if record.levelno < logging.WARNING or record.exc_info:
            return False
        return not any(phrase in str(record.msg) for phrase in _NOT_WARNINGS)


_CHATTER = _OrbaxChatter()


def _quieten_orbax() -> None:
    logging.getLogger("absl").addFilter(_CHATTER)  # adding it again does nothing


def _host_array(path: str, leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise ValueError(f"{path} is a typed PRNG key: save its jax.random.key_data.")
    array = np.asarray(leaf)
    if array.dtype.kind in "OSUMm":
        raise ValueError(f"{path} is {leaf!r}: only numbers and arrays of numbers can be saved.")
    return array
