"""Writes checkpoints in the background: Orbax the arrays, then the rest, the manifest and the name.

Host arrays are the same in all processes of a run, so process 0 alone writes; the others wait for
it, in the background too.
"""

import itertools
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from perceiver.training.checkpoints.folders import CheckpointFolders

STATE = "state"  # the folder, inside a checkpoint's, of the arrays
_BARRIER_SECONDS = 1200  # as long as Orbax gives itself to write
_BARRIER_NUMBERS = itertools.count()  # all processes make the same calls, so theirs agree
# How long a shared file system may take to show one machine what another has renamed.
_VISIBLE_SECONDS = 30


class CheckpointWriter:
    """Writes one checkpoint at a time."""

    def __init__(self, folders: CheckpointFolders):
        """Touches nothing.

        Args:
          folders: where checkpoints go.
        """
        self._folders = folders
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._saving: Future | None = None
        self._orbax = None
        if jax.process_index() == 0:
            alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
            self._orbax = ocp.AsyncCheckpointer(
                ocp.PyTreeCheckpointHandler(multiprocessing_options=alone),
                multiprocessing_options=alone,
            )

    def start(
        self,
        step: int,
        leaves: dict[str, np.ndarray],
        metrics: dict[str, float],
        files: dict[str, bytes],
    ) -> None:
        """Returns once the arrays are copied; whatever fails is raised by the next `wait`.

        Args:
          step: what the checkpoint is named by.
          leaves: its arrays, by path.
          metrics: figures of that step.
          files: what else belongs into its folder, by name.
        """
        started = self._thread.submit(self._start, step, leaves)
        wait([started])
        self._saving = self._thread.submit(self._finish, step, metrics, files, started)

    def wait(self) -> None:
        """Waits until the checkpoint that was started is there, and the old ones are deleted.

        Raises:
          Exception: whatever went wrong since `start`, once. In a process other than 0, an OSError
            that says that process 0 failed.
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
                # Orbax refuses arrays without elements; the index has all there is to them.
                args=ocp.args.PyTreeSave({path: x for path, x in leaves.items() if x.size}),
            )

    def _finish(
        self, step: int, metrics: dict[str, float], files: dict[str, bytes], started: Future
    ) -> None:
        """Makes a checkpoint of the arrays once they are written.

        No process takes a step for saved before process 0 has finished it, and where that fails it
        fails in all, so that they end together.
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
        # Or a later one, for which process 0 may already have deleted this.
        while max(self._folders.steps(), default=-1) < step:
            if time.monotonic() > end:
                raise OSError(f"process 0 could not save step {step}; its own message says why")
            time.sleep(0.1)
