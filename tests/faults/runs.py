"""What tests of interrupted runs look at: the same run is bitwise the same."""

import time

import numpy as np
import orbax.checkpoint as ocp

from perceiver.training.logging.metrics import read_metrics


def assert_same_run(workdir, other, step=12):
    """Every metric of every step, and all arrays of a checkpoint."""
    assert read_metrics(workdir) == read_metrics(other)
    ours, theirs = arrays(workdir, step), arrays(other, step)
    assert ours.keys() == theirs.keys()
    for path, array in ours.items():
        np.testing.assert_array_equal(array, theirs[path], err_msg=path)


def arrays(workdir, step):
    """The arrays of a checkpoint, by path, read without the project's code."""
    folder = workdir / "checkpoints" / str(step) / "state"
    with ocp.PyTreeCheckpointer() as checkpointer:
        return {k: np.asarray(v) for k, v in checkpointer.restore(folder).items()}


def logged(workdir):
    """The newest step in a run's log, 0 without one."""
    if not (workdir / "metrics.jsonl").exists():
        return 0
    return max((record["step"] for record in read_metrics(workdir)), default=0)


def wait_for_step(workdir, step, process, seconds=120):
    """Waits until a run has logged a step; the process must live as long."""
    deadline = time.monotonic() + seconds
    while logged(workdir) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{workdir} did not come to step {step}"
        time.sleep(0.02)
