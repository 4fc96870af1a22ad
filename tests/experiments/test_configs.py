"""Every config and variant, found by looking: full size by shape, then a few steps when shrunk."""

import h5py
import jax
import numpy as np
import pytest
from PIL import Image

from experiments import build
from experiments.command_line import all_configs, config_files
from perceiver.costs import total
from perceiver.training.logs import read_metrics
from tests.experiments.processes import ROOT, run

CONFIGS = dict(all_configs())

SHRUNK = [
    "--config.model.num_latents=4",
    "--config.model.latent_channels=16",
    "--config.train.batch_size=4",
    "--config.train.steps=2",
    "--config.train.log_every=1",
    "--config.eval.batch_size=4",
]


def test_configs_are_found():
    """As many as there are files with a get_config, and none that imports more than it may."""
    assert {f.name for f in config_files()} == {
        f.name for f in (ROOT / "configs").glob("*.py") if "def get_config(" in f.read_text()
    }
    assert len(CONFIGS) >= 5


@pytest.mark.parametrize("name", CONFIGS)
def test_network_at_full_size(name):
    """It builds, and has as many parameters as the formula says."""
    config = CONFIGS[name]
    network = build.model(config, config.data.num_classes)
    spec = jax.eval_shape(network.init, jax.random.key(0), build.batch_spec(config, 2))
    counted = sum(x.size for x in jax.tree.leaves(spec))
    assert counted == total(build.costs(config, config.data.num_classes)).parameters
    logits = jax.eval_shape(network.apply, spec, build.batch_spec(config, 2))
    assert logits.shape == (2, config.data.num_classes)


@pytest.mark.parametrize("name", CONFIGS)
def test_header_says_how_to_run_it(name):
    header = (ROOT / name.split(":")[0]).read_text().split('"""')[1]
    assert f"--config={name.split(':')[0]}" in header
    assert "python -m experiments.train" in header


def test_imagenet_is_the_papers_recipe():
    """Sec. 4.1: 120 epochs, 0.004, divided by 10 at epochs 84, 102 and 114."""
    config = CONFIGS["configs/imagenet.py"]
    assert total(build.costs(config, 1000)).parameters == 44_912_254
    _, schedule = build.optimizer(config, 1_281_167)
    assert build.total_steps(config, 1_281_167) == 150_137
    steps_per_epoch = 1_281_167 / 1024
    for epoch, rate in [(0, 4e-3), (83.9, 4e-3), (84.1, 4e-4), (102.1, 4e-5), (114.1, 4e-6)]:
        assert float(schedule(round(epoch * steps_per_epoch))) == pytest.approx(rate, rel=1e-5)


def test_modelnet40_is_the_papers_recipe():
    """Sec. 4.3: 2 cross-attends, 6 self-attends a tower, batch 512, 50,000 steps of 0.001."""
    config = CONFIGS["configs/modelnet40.py"]
    assert (config.train.batch_size, build.total_steps(config, 9843)) == (512, 50_000)
    costs = {cost.part: cost for cost in build.costs(config, 40)}
    assert costs["cross-attends"].applied == 2
    assert costs["self-attends"].applied == 12
    _, schedule = build.optimizer(config, 9843)
    assert float(schedule(0)) == float(schedule(49_999)) == pytest.approx(1e-3)


def pictures(folder):
    draw = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 3)):
        for name in ("a class", "-another"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 256, (40, 50, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.jpg")


def point_clouds(folder):
    folder.mkdir(exist_ok=True)
    (folder / "shape_names.txt").write_text("bed\nsofa\n")
    for split in ("train", "test"):
        (folder / f"{split}_files.txt").write_text(f"data/somewhere/{split}0.h5\n")
        with h5py.File(folder / f"{split}0.h5", "w") as file:
            file["data"] = np.random.default_rng(1).normal(size=(9, 64, 3)).astype(np.float32)
            file["label"] = np.arange(9, dtype=np.uint8)[:, None] % 2


@pytest.mark.parametrize("name", CONFIGS)
def test_trains_and_evaluates_when_shrunk(name, tmp_path):
    config = CONFIGS[name]
    arguments = [f"--config={name}", f"--workdir={tmp_path}/run", *SHRUNK]
    if config.data.name == "image_folder":
        pictures(tmp_path / "data")
        arguments += [f"--config.data.dir={tmp_path}/data", "--config.data.image_size=16"]
    elif config.data.name == "modelnet40":
        point_clouds(tmp_path / "data")
        arguments += [f"--config.data.dir={tmp_path}/data", "--config.data.num_points=32"]
    run("train", *arguments)
    records = read_metrics(tmp_path / "run")
    assert [r["step"] for r in records if r["split"] == "train"] == [1, 2]
    assert all(np.isfinite(r["loss"]) for r in records)
    out, _ = run("evaluate", *arguments)
    assert "step 2: top-1" in out
