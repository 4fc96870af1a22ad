"""Checkpoints of real processes: several of one run, and one that is killed while it saves."""

import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from perceiver.training.checkpoints import CheckpointError, Checkpoints

ELEMENTS = 4_000_000  # 16 MB of float32: saving takes long enough to be killed in
ABSTRACT = {"step": jax.ShapeDtypeStruct((), np.int32), "w": jax.ShapeDtypeStruct((ELEMENTS,), "f")}

SAVE_FOR_EVER = """
import sys
import numpy as np
from perceiver.training.checkpoints import Checkpoints

directory, elements = sys.argv[1], int(sys.argv[2])
with Checkpoints(directory, keep=1, best_of=None) as checkpoints:
    step = checkpoints.latest_step() or 0
    while True:
        step += 1
        w = np.random.default_rng(step).random(elements, np.float32)
        checkpoints.save(step, {"step": np.int32(step), "w": w}, f"at {step}".encode())
"""

TWO_PROCESSES = """
import sys
import jax
import numpy as np
from perceiver.training.checkpoints import Checkpoints

directory, port, index = sys.argv[1], sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=index)
state = {"w": np.arange(10.0)}
with Checkpoints(directory, keep=1, best_of="accuracy") as checkpoints:
    for step in (1, 2, 3):
        checkpoints.save(step, state, f"process {index} at {step}".encode(), {"accuracy": -step})
with Checkpoints(directory, keep=1, best_of="accuracy") as checkpoints:
    assert checkpoints.steps() == [1, 3], checkpoints.steps()
    step, restored, iterator = checkpoints.restore(state, "best")
    assert step == 1 and iterator == f"process {index} at 1".encode(), (step, iterator)
    assert restored["w"].tobytes() == state["w"].tobytes()
jax.distributed.shutdown()
"""


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, process, seconds=60):
    """Waits until condition() is true and returns it; the process must live as long."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.001)
    return found


def test_killed_while_saving(tmp_path):
    """Whatever the moment, the directory has one whole checkpoint and nothing half-done."""
    before, hit = 0, 0
    for delay in (0.0, 0.03, 0.1):
        process = start(SAVE_FOR_EVER, tmp_path, ELEMENTS)
        # Let it finish a checkpoint of its own, then catch it in the next one.
        wait_for(lambda before=before: newest(tmp_path) > before, process)
        wait_for(lambda: unfinished(tmp_path), process)
        time.sleep(delay)
        process.kill()
        process.wait()
        process.stdout.close()
        hit += bool(unfinished(tmp_path))
        with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
            step, state, iterator = checkpoints.restore(ABSTRACT)
            assert step > before
            assert (state["step"], iterator) == (step, f"at {step}".encode())
            expected = np.random.default_rng(step).random(ELEMENTS, np.float32)
            assert state["w"].tobytes() == expected.tobytes()
            # A kill between the commit and the removal of the old one leaves two whole ones.
            whole = [str(s) for s in checkpoints.steps()]
            assert len(whole) in (1, 2)
            assert sorted(path.name for path in tmp_path.iterdir()) == sorted(whole)
        before = step
    assert hit, "never killed in the middle of a save: the test says nothing"


def newest(directory):
    return max((int(p.name) for p in directory.iterdir() if p.name.isdecimal()), default=0)


def unfinished(directory):
    return [path for path in directory.iterdir() if "tmp" in path.name]


def test_each_process_gets_its_own_iterator_back(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [start(TWO_PROCESSES, tmp_path, port, index) for index in (0, 1)]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    files = sorted(path.name for path in (tmp_path / "3" / "iterator").glob("process*"))
    assert files == ["process_0-of-2", "process_1-of-2"]
    state = {"w": jax.ShapeDtypeStruct((10,), float)}
    with (
        Checkpoints(tmp_path, keep=1, best_of=None) as alone,
        pytest.raises(CheckpointError, match="saved by 2 processes and this run has 1"),
    ):
        alone.restore(state)
    with Checkpoints(tmp_path, keep=1, best_of=None, read_only=True) as evaluator:
        np.testing.assert_array_equal(evaluator.restore(state)[1]["w"], np.arange(10.0))
