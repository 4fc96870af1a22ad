"""Writes checkpoints in the background: arrays with Orbax, then the other files and the manifest.

All processes of a run have the same host arrays, so only process 0 writes. The other processes wait
for it, in the background too.
"""

import itertools
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from perceiver.training.checkpoints.folders import CheckpointFolders

STATE = "state"  # the subfolder of the arrays in a checkpoint
_BARRIER_SECONDS = 1200  # as long as Orbax waits for its own writes
_BARRIER_NUMBERS = itertools.count()  # all processes make the same calls, so the numbers agree
# Longest time until a shared file system shows a rename to another machine.
_VISIBLE_SECONDS = 30


class _OrbaxFilter(logging.Filter):
    """Drops log records of Orbax below a warning, and the tracebacks that its threads log.

    The next call of Orbax raises the error of such a traceback.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if "orbax" not in record.pathname:
            return True
        return record.levelno >= logging.WARNING and not record.exc_info


_ORBAX_FILTER = _OrbaxFilter()


class CheckpointWriter:
    """Writes one checkpoint at a time."""

    def __init__(self, folders: CheckpointFolders):
        """Starts the background threads; writes nothing to `folders` yet."""
        logging.getLogger("absl").addFilter(_ORBAX_FILTER)  # adding it again has no effect
        self._folders = folders
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._saving: Future | None = None
        self._orbax = None
        if jax.process_index() == 0:
            only_first = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
            self._orbax = ocp.AsyncCheckpointer(
                ocp.PyTreeCheckpointHandler(multiprocessing_options=only_first),
                multiprocessing_options=only_first,
            )

    def start(
        self,
        step: int,
        leaves: dict[str, np.ndarray],
        metrics: dict[str, float],
        files: dict[str, bytes],
    ) -> None:
        """Starts a checkpoint and returns once the arrays are copied; `wait` raises its errors.

        Args:
          step: step of the checkpoint, which names its folder.
          leaves: arrays by path.
          metrics: metrics of the step.
          files: content of the other files of the checkpoint, by name.
        """
        started = self._thread.submit(self._start, step, leaves)
        wait([started])
        self._saving = self._thread.submit(self._finish, step, metrics, files, started)

    def wait(self) -> None:
        """Waits until the started checkpoint is finished and the expired ones are deleted.

        Raises:
          Exception: the error of the save, once. In a process other than 0, an OSError with the
            message that process 0 failed.
        """
        saving, self._saving = self._saving, None
        if saving:
            saving.result()

    def close(self) -> None:
        """Ends the background threads; may be called again."""
        self._thread.shutdown()
        if self._orbax:
            self._orbax.close()

    def _start(self, step: int, leaves: dict[str, np.ndarray]) -> None:
        if self._orbax:
            self._folders.remove_leftovers()
            self._orbax.save(
                epath.Path(self._folders.unfinished(step) / STATE),
                # Orbax rejects arrays without elements; the index describes them fully.
                args=ocp.args.PyTreeSave({path: x for path, x in leaves.items() if x.size}),
            )

    def _finish(
        self, step: int, metrics: dict[str, float], files: dict[str, bytes], started: Future
    ) -> None:
        """Finishes the checkpoint once the arrays are written.

        No process regards a step as saved before process 0 has finished it. If process 0 fails, all
        processes fail, so that they end together.
        """
        try:
            started.result()
            if self._orbax:
                self._orbax.wait_until_finished()
                self._folders.finish(step, metrics, files)
        finally:
            if jax.process_count() > 1:
                ocp.multihost.get_barrier_sync_fn()(
                    key=f"checkpoint_{next(_BARRIER_NUMBERS)}", timeout_ms=1000 * _BARRIER_SECONDS
                )
        end = time.monotonic() + _VISIBLE_SECONDS
        # A later step counts too: process 0 may have deleted this one for it.
        while max(self._folders.steps(), default=-1) < step:
            if time.monotonic() > end:
                raise OSError(f"process 0 could not save step {step}; its own message says why")
            time.sleep(0.1)
