"""Tests the benchmark of data loading."""

import json
import os
import time

import numpy as np
import pytest
from PIL import Image

from experiments.benchmark import data
from perceiver.data.dataset import Source
from perceiver.data.tensorflow_cpu import tf
from tests.processes import finish, run, start_python

QUICK = ["--seconds=0.2", "--repeats=3"]


def batches(seconds, *, busy):
    """Yields batches of 5 examples, one of them padding, that take `seconds` to make."""
    while True:
        began = time.monotonic()
        while busy and time.monotonic() - began < seconds:
            pass
        if not busy:
            time.sleep(seconds)
        yield {"index": np.arange(5), "mask": np.array([1, 1, 1, 1, 0], np.float32)}


def test_waiting_counts_no_cpu_time():
    runs = data.timed(batches(0.02, busy=False), seconds=0.2, repeats=2)
    assert len(runs) == 2  # the first is not counted
    for timed_run in runs:
        assert timed_run.examples / timed_run.seconds == pytest.approx(4 / 0.02, rel=0.25)
        assert timed_run.seconds >= 0.2
        assert timed_run.cpu_seconds < 0.1 * timed_run.seconds


def test_work_counts_cpu_time():
    for timed_run in data.timed(batches(0.01, busy=True), seconds=0.2, repeats=2):
        # Other programs may use part of the time.
        assert 0.3 * timed_run.seconds < timed_run.cpu_seconds < 1.1 * timed_run.seconds


@pytest.mark.parametrize(
    ("wanted", "bytes_of_one", "fits"),
    [
        (64, 150_528, 64),
        (1024, 150_528, 128),  # pictures of 224 x 224
        (64, 4_816_896, 54),  # 32 frames: 55 take 256 MB, and mixing needs an even number
        (64, 77_070_336, 2),  # 16 windows
    ],
)
def test_batches_fit_into_memory(wanted, bytes_of_one, fits):
    assert data.fitting(wanted, bytes_of_one) == fits


@pytest.mark.parametrize("batch_size", [2, 5])
def test_evaluation_repeats_the_split(monkeypatch, batch_size):
    monkeypatch.setattr(data, "_SHORTEST_PASS", 7)  # of 9 examples, so it ends
    source = Source(3, lambda index, seed: {"label": tf.cast(index, tf.int32) + 10})
    stream = data.evaluation_batches(None, source, batch_size=batch_size)
    found = []
    while len(found) < 27:
        batch = next(stream)
        found += list(batch["label"][batch["mask"] == 1])
    assert found[:27] == [10, 11, 12] * 9


def test_json_of_a_config():
    out, _ = run("benchmark", "data", "--config=configs/digits.py", "--format=json", *QUICK)
    result = json.loads(out)
    assert result["config"] == "configs/digits.py"
    assert result["cores"] == len(os.sched_getaffinity(0))
    assert result["cpu"]
    train, evaluation = result["train"], result["eval"]
    assert (train["num_examples"], evaluation["num_examples"]) == (1437, 360)
    assert (train["config_batch_size"], train["batch_size"]) == (64, 64)
    assert (evaluation["config_batch_size"], evaluation["batch_size"]) == (360, 128)
    assert train["batch_bytes"] == 64 * (8 * 8 + 4 + 4)  # pixels, label, index
    assert evaluation["batch_bytes"] == 128 * (8 * 8 + 4 + 4 + 4)  # and mask
    assert train["features"]["image"] == "uint8 [8, 8, 1]"
    for split in (train, evaluation):
        rate, cores = split["examples_per_second"], split["cores_busy"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        assert rate["median"] > 100  # 64 pixels from memory
        per_core = split["examples_per_second_per_core"]["median"]
        assert per_core * result["cores"] == pytest.approx(rate["median"])
        assert 0 < cores["median"] <= result["cores"] * 1.1


def test_table_for_pictures_of_a_folder(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (50, 40), (i, i, i)).save(tmp_path / name / f"{i}.png")
    arguments = ["--config=configs/folder.py", f"--config.data.dir={tmp_path}", *QUICK]
    out, _ = run("benchmark", "data", *arguments, "--config.train.batch_size=1024")
    rows = {line[:20].strip(): line[20:].split() for line in out.splitlines()}
    assert rows["examples"] == ["9", "1"]  # a tenth is held out
    assert rows["config's batch"] == ["1,024", "32"]
    assert rows["batch timed"] == ["128", "32"]
    assert rows["image"] == ["uint8", "[64,", "64,", "3]"] * 2
    assert float(rows["examples a second"][0].replace(",", "")) > 0


def test_no_device_is_used():
    """With this platform, JAX would fail at the first use of a device."""
    command = ["-m", "experiments.benchmark", "data", "--config=configs/digits.py"]
    environment = {"JAX_PLATFORMS": "no_such_platform"}
    quick = ["--seconds=0.05", "--repeats=1"]
    finish(start_python(*command, *quick, environment=environment))
