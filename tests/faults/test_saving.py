"""Saving under kill -9, full disks and failures, with real processes and files.

The newest checkpoint is always intact, and a failed save raises an error.
"""

import contextlib
import random
import resource
import time

import jax
import numpy as np
import pytest

from perceiver.training.checkpoints import CheckpointError, Checkpoints
from tests.processes import start_python

ELEMENTS = 4_000_000  # 16 MB of float32: a save takes long enough to be killed

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

SAVE_TWICE = """
import resource, sys
import numpy as np
from perceiver.training.checkpoints import Checkpoints

directory, limit = sys.argv[1], int(sys.argv[2])
w = np.random.default_rng(0).normal(size=300_000)
with Checkpoints(directory, keep=1, best_of=None) as checkpoints:
    checkpoints.save(1, {"w": w}, b"one")
    checkpoints.wait()
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    checkpoints.save(2, {"w": w}, b"two")
    print("saving in the background", flush=True)
print("never printed")
"""

LARGE = {"w": np.random.default_rng(0).normal(size=300_000)}  # 2.4 MB, which do not compress


def abstract(state):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)


def newest(directory):
    return max((int(p.name) for p in directory.iterdir() if p.name.isdecimal()), default=0)


def stage(directory):
    """Returns the stage of a save: what the process in this directory writes next."""
    for path in directory.glob("*.unfinished"):
        if (path / "manifest.json").exists():
            return "naming"
        return "sums" if (path / "state").exists() else "arrays"
    return "deletion" if (directory / "deleted").exists() else "nothing"


def kill_in(directory, before, when):
    """Kills a saving process once a step after `before` is saved and `when()` is true."""
    process = start_python("-c", SAVE_FOR_EVER, directory, ELEMENTS)
    end = time.monotonic() + 120
    while newest(directory) <= before or not when():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.0002)
    process.kill()
    process.communicate()
    return stage(directory)


def check_after_kill(directory):
    """Checks that the newest checkpoint is intact and correct and that no partial one is left."""
    with Checkpoints(directory, keep=1, best_of=None) as checkpoints:
        state = {"step": np.int32(0), "w": np.zeros(ELEMENTS, np.float32)}
        step, state, iterator = checkpoints.restore(abstract(state))
        assert (state["step"], iterator) == (step, f"at {step}".encode())
        expected = np.random.default_rng(step).random(ELEMENTS, np.float32)
        assert state["w"].tobytes() == expected.tobytes()
        assert step == newest(directory)
        # A kill between the rename of the new one and the removal of the old one leaves both.
        assert len(checkpoints.steps()) in (1, 2)
        for other in checkpoints.steps():
            assert checkpoints.restore(abstract(state), other)[0] == other
        assert sorted(path.name for path in directory.iterdir()) == sorted(
            map(str, checkpoints.steps())
        )
    return step


def test_a_kill_at_each_stage_of_a_save_leaves_an_intact_checkpoint(tmp_path):
    """Stages: arrays are written, the manifest is written, the old checkpoint is deleted."""
    before = 0
    for wanted in ("arrays", "sums", "deletion"):
        for _ in range(5):  # a stage of milliseconds can be missed
            hit = kill_in(tmp_path, before, lambda wanted=wanted: stage(tmp_path) == wanted)
            step = check_after_kill(tmp_path)
            assert step > before
            before = step
            if hit == wanted:
                break
        else:
            pytest.fail(f"never killed in the stage {wanted!r}")


@pytest.mark.slow
def test_kills_at_random_moments_leave_an_intact_checkpoint(tmp_path):
    moments = random.Random(0)
    before, hits = 0, []
    for _ in range(40):
        kill_at = time.monotonic() + 120
        delay = moments.uniform(0, 0.5)

        def when(delay=delay):
            nonlocal kill_at
            kill_at = min(kill_at, time.monotonic() + delay)
            return time.monotonic() >= kill_at

        hits.append(kill_in(tmp_path, before, when))
        step = check_after_kill(tmp_path)
        assert step > before
        before = step
    assert sum(hit != "nothing" for hit in hits) >= 10, hits


def check_out_of_space(directory, limit, reason):
    process = start_python("-c", SAVE_TWICE, directory, limit)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "saving in the background\n"), err
    last = err.strip().splitlines()[-1]
    assert last.startswith(
        "perceiver.training.checkpoints.checkpointer.CheckpointError: could not finish "
    )
    assert str(directory) in last
    assert reason in last
    with Checkpoints(directory, keep=1, best_of=None) as checkpoints:
        assert [path.name for path in directory.iterdir()] == ["1"]
        step, state, iterator = checkpoints.restore(abstract(LARGE))
        assert (step, iterator) == (1, b"one")
        assert state["w"].tobytes() == LARGE["w"].tobytes()


def test_the_last_save_hits_a_file_size_limit(tmp_path):
    check_out_of_space(tmp_path, 1_000_000, "File too large")


def test_the_last_save_hits_a_full_disk(small_disk):
    (small_disk / "checkpoints").mkdir()
    check_out_of_space(small_disk / "checkpoints", 0, "No space left on device")


@contextlib.contextmanager
def file_size_limit(size):
    """Limits the files of this process to `size` bytes, to stand in for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_save_is_raised_by_the_next_and_does_not_count(tmp_path):
    with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
        checkpoints.save(1, LARGE, b"one")
        checkpoints.wait()
        with file_size_limit(1_000_000):
            checkpoints.save(2, LARGE, b"two")
            with pytest.raises(CheckpointError, match=f"{tmp_path}.*File too large") as error:
                checkpoints.save(3, LARGE, b"three")
        assert "\n" not in str(error.value)
        assert checkpoints.steps() == [1]
        step, state, iterator = checkpoints.restore(abstract(LARGE))
        assert (step, iterator) == (1, b"one")
        assert state["w"].tobytes() == LARGE["w"].tobytes()
        checkpoints.save(2, LARGE, b"two")  # saving works again
        checkpoints.wait()
        assert checkpoints.steps() == [2]
    assert [path.name for path in tmp_path.iterdir()] == ["2"]


def test_a_save_that_fails_after_writing_its_arrays_does_not_count(tmp_path):
    with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
        checkpoints.save(1, {"w": np.ones(3)}, b"one")
        checkpoints.wait()
        (tmp_path / "2").write_text("in the way of the rename")
        checkpoints.save(2, {"w": np.ones(3)}, b"two")
        with pytest.raises(CheckpointError, match=f"could not finish saving in {tmp_path}"):
            checkpoints.wait()
        assert checkpoints.steps() == [1]
    (tmp_path / "2").unlink()
    with Checkpoints(tmp_path, keep=1, best_of=None) as checkpoints:
        assert checkpoints.restore({"w": np.ones(3)})[::2] == (1, b"one")
        assert [path.name for path in tmp_path.iterdir()] == ["1"]
