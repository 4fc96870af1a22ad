"""Damaged files under a real run: named and counted in training, never dropped in evaluation."""

import json

import numpy as np
import pytest
from PIL import Image

from perceiver.training.logs import read_metrics
from tests.experiments.processes import run

ARGUMENTS = [
    "--config=configs/folder.py",
    "--config.model.num_latents=4",
    "--config.model.latent_channels=16",
    "--config.data.image_size=16",
    "--config.train.batch_size=16",
    "--config.train.steps=4",
    "--config.train.log_every=1",
    "--config.train.eval_every=2",
]


@pytest.fixture
def pictures(tmp_path):
    """16 of each of two classes to train on, 4 to evaluate."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 256, (40, 50, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{i}.jpg")
    return tmp_path / "data"


def cut_short(file):
    """As a download that was broken off leaves it."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return file


def test_training_passes_over_as_many_as_it_may(pictures, tmp_path):
    damaged = cut_short(pictures / "train" / "cat" / "3.jpg")
    arguments = [*ARGUMENTS, f"--workdir={tmp_path}/run", f"--config.data.dir={pictures}"]
    _, err = run("train", *arguments, status=2)  # one of 32 is more than a thousandth
    (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
    assert str(damaged) in line
    assert "1 of 32 examples, 0 are allowed" in line
    assert "Traceback" not in err

    _, err = run("train", *arguments, "--config.train.max_unreadable=0.1")
    (line,) = [x for x in err.splitlines() if x.startswith("warning: ")]
    assert str(damaged) in line
    assert "1 so far, 3 are allowed" in line
    steps = [r["step"] for r in read_metrics(tmp_path / "run") if r["split"] == "train"]
    assert steps == [1, 2, 3, 4]
    assert json.loads((tmp_path / "run" / "eval.json").read_text())["num_examples"] == 8


@pytest.mark.parametrize("number", [0, 2])
def test_evaluation_passes_over_none(number, pictures, tmp_path):
    damaged = cut_short(pictures / "val" / "cat" / f"{number}.jpg")
    _, err = run(
        "train",
        *ARGUMENTS,
        f"--workdir={tmp_path}/run",
        f"--config.data.dir={pictures}",
        "--config.train.max_unreadable=0.9",
        status=2,
    )
    (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
    assert str(damaged) in line
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "eval.json").exists()
