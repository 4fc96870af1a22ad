"""Full training of the shipped configs reaches the accuracies stated in README and configs."""

import json
import time

import pytest

from tests.processes import run


@pytest.mark.slow
def test_digits_reach_98_percent(tmp_path):
    began = time.monotonic()
    run("train", "--config=configs/digits.py", f"--workdir={tmp_path}", timeout=600, optimised=True)
    result = json.loads((tmp_path / "eval.json").read_text())
    assert result["num_examples"] == 360
    assert result["top1"] >= 0.98
    assert time.monotonic() - began < 180


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_modelnet10_reaches_90_percent(tmp_path, real_data):
    run(
        "train",
        "--config=configs/modelnet40.py:small",
        f"--config.data.dir={real_data}/modelnet10_hdf5_1024",
        f"--workdir={tmp_path}",
        timeout=3600,
        optimised=True,
    )
    result = json.loads((tmp_path / "eval.json").read_text())
    assert result["num_examples"] == 908
    assert result["top1"] >= 0.90
