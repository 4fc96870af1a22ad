"""Checkpoints saved and restored by different numbers of real processes."""

import re
import socket
import subprocess
import sys

import jax
import numpy as np

from perceiver.training.checkpoints import Checkpoints

SAVE = """
import sys
import jax
import numpy as np
from perceiver.training.checkpoints import Checkpoints

directory, port, index = sys.argv[1], sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=index)
with Checkpoints(directory, keep=1, best_of="accuracy") as checkpoints:
    for step in (1, 2, 3):
        state = {"w": np.arange(10.0) + step}
        checkpoints.save(step, state, f"after {step}".encode(), {"accuracy": -step})
    checkpoints.wait()
    assert checkpoints.steps() == [1, 3], checkpoints.steps()
jax.distributed.shutdown()
"""

RESTORE = """
import sys
import jax
import numpy as np
from perceiver.training.multiprocess import run_together
from perceiver.training.checkpoints import CheckpointError, Checkpoints

directory, port, index = sys.argv[1], sys.argv[2], int(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", num_processes=4, process_id=index)
abstract = {"w": jax.ShapeDtypeStruct((10,), float)}
with Checkpoints(directory, keep=1, best_of="accuracy") as checkpoints:
    try:
        checkpoints.restore(abstract, 3)
    except CheckpointError as error:
        print(error)
    for wanted in (None, "best"):
        step, state, iterator = checkpoints.restore(abstract, wanted)
        print(step, iterator, state["w"].tolist())
    checkpoints.save(3, {"w": np.zeros(10)}, b"again")
try:
    run_together(lambda: 1 / (index - 2))
except (ZeroDivisionError, RuntimeError) as error:
    print(error)
jax.distributed.shutdown()
"""


def outputs_of(script, count, directory):
    """Runs the script in several processes and returns the output of each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(directory), str(port), str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return outputs


def test_saved_by_two_processes_and_restored_by_one_and_by_four(tmp_path):
    outputs_of(SAVE, 2, tmp_path)
    abstract = {"w": jax.ShapeDtypeStruct((10,), float)}
    with Checkpoints(tmp_path, keep=1, best_of="accuracy") as alone:
        step, state, iterator = alone.restore(abstract)
        assert (step, iterator) == (3, b"after 3")
        assert state["w"].tolist() == (np.arange(10.0) + 3).tolist()

    # If the newest is damaged, four processes choose the same fallback, and one warns and moves the
    # damaged one. An error in one process is an error in all.
    (tmp_path / "3" / "iterator").write_bytes(b"after 4")
    outputs = outputs_of(RESTORE, 4, tmp_path)
    restored = f"1 b'after 1' {(np.arange(10.0) + 1).tolist()}\n"
    refused = f"step 3 in {tmp_path} is damaged: iterator is changed. Choose another step, or the "
    refused += "newest, which falls back to one that is whole.\n"
    printed = [re.sub(r"\[Gloo\].*\n", "", out) for out, _ in outputs]
    failures = ["process 2 failed\n"] * 4
    failures[2] = "division by zero\n"
    assert printed == [refused + 2 * restored + failure for failure in failures]
    warnings = re.findall(r"warning: step 3 .*", "".join(err for _, err in outputs))
    moved = tmp_path / "damaged" / "3"
    assert warnings == [
        f"warning: step 3 in {tmp_path} is damaged: iterator is changed; moved to {moved}; "
        "using step 1"
    ]
    assert (moved / "iterator").read_bytes() == b"after 4"
    with Checkpoints(tmp_path, keep=1, best_of="accuracy") as alone:
        assert alone.restore(abstract)[::2] == (3, b"again")
