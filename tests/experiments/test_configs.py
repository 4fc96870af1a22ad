"""Every config and variant, found by looking: full size by shape, then a few steps when shrunk."""

import h5py
import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from experiments import build
from experiments.command_line import all_configs, config_files
from perceiver.costs import total
from perceiver.training.logs import read_metrics
from tests.data.clips import media
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


def clip(path, draw):
    """A file with both frames and sound, 0.4 s."""
    media.write(
        path,
        frames=draw.integers(0, 256, 10),
        rate=25,
        sound=("aac", 48_000, "fltp", media.sine(48_000, 0.4, draw.integers(200, 2000))),
    )


def sounds_and_videos(folder):
    draw = np.random.default_rng(2)
    for split, count in (("train", 5), ("val", 3)):
        for name in ("a class", "-another"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                clip(folder / split / name / f"{i}.mp4", draw)


def meshes(folder):
    """A box, a file of each of two classes and splits, as OFF."""
    corners = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
    sides = ["0 1 3 2", "4 5 7 6", "0 1 5 4", "2 3 7 6", "0 2 6 4", "1 3 7 5"]
    for split in ("train", "val"):
        for name in ("a class", "-another"):
            (folder / split / name).mkdir(parents=True)
            for i in range(4):
                lines = ["OFF", "8 6 0", *(f"{x} {y} {z + i}" for x, y, z in corners)]
                lines += [f"4 {side}" for side in sides]
                (folder / split / name / f"{i}.off").write_text("\n".join(lines))


@pytest.fixture(scope="session")
def audioset(tmp_path_factory):
    """A small data set with several labels a clip, through the preparation of AudioSet."""
    folder = tmp_path_factory.mktemp("audioset")
    (folder / "clips").mkdir()
    (folder / "classes.csv").write_text(
        'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n'
    )
    draw = np.random.default_rng(3)
    for split in ("balanced_train", "unbalanced_train", "eval"):
        lines = ["# made for a test", "# of segments", "# YTID, start, end, labels"]
        for i in range(4):
            video = f"-{split[:4]}_{i:05}"  # 11 characters, as real ones
            clip(folder / "clips" / f"{video}_000010.mp4", draw)
            labels = "/m/09x0r,/m/05zppz" if i % 2 else "/m/09x0r"
            lines.append(f'{video}, 10.000, 20.000, "{labels}"')
        (folder / f"{split}_segments.csv").write_text("\n".join(lines) + "\n")
    run(
        "prepare_data",
        "audioset",
        *(f"--csv={path}" for path in sorted(folder.glob("*_segments.csv"))),
        f"--classes={folder}/classes.csv",
        f"--clips={folder}/clips",
        f"--out={folder}/prepared",
    )
    return folder / "prepared"


class Pictures(tfds.core.GeneratorBasedBuilder):
    """A TFDS data set with one label a picture."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=["a", "b"]),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(), "validation": self._generate_examples()}

    def _generate_examples(self):
        draw = np.random.default_rng(4)
        for i in range(6):
            yield i, {"image": draw.integers(0, 256, (40, 50, 3), np.uint8), "label": i % 2}


@pytest.mark.parametrize("name", CONFIGS)
def test_trains_and_evaluates_when_shrunk(name, tmp_path, request):
    config = CONFIGS[name]
    arguments = [f"--config={name}", f"--workdir={tmp_path}/run", *SHRUNK]
    data = tmp_path / "data"
    if config.data.name == "image_folder":
        pictures(data)
    elif config.data.name == "tfds_images":
        Pictures(data_dir=str(data)).download_and_prepare()
        arguments.append("--config.data.tfds_name=pictures")
    elif config.data.name == "modelnet40":
        point_clouds(data)
        arguments.append("--config.data.partial=True")
    elif config.data.name == "point_folder":
        meshes(data)
    elif config.data.name == "clip_folder":
        sounds_and_videos(data)
        arguments.append(f"--config.data.prepared={tmp_path}/prepared")
    elif config.data.name == "audioset":
        data = request.getfixturevalue("audioset")
    small = {"image_size": 16, "num_points": 32, "clip_frames": 8, "eval_windows": 2}
    if config.data.name == "digits":
        small = {}
    arguments += [f"--config.data.{k}={v}" for k, v in small.items() if k in config.data]
    if "dir" in config.data:
        arguments.append(f"--config.data.dir={data}")
    run("train", *arguments)
    records = read_metrics(tmp_path / "run")
    assert [r["step"] for r in records if r["split"] == "train"] == [1, 2]
    assert all(np.isfinite(r["loss"]) for r in records)
    out, _ = run("evaluate", *arguments)
    assert "step 2: " + ("mAP" if config.train.loss == "sigmoid" else "top-1") in out


def test_mixed_pictures_train(tmp_path):
    """Mixup on half of the pairs and CutMix on the others."""
    pictures(tmp_path / "data")
    run(
        "train",
        "--config=configs/folder.py",
        f"--workdir={tmp_path}/run",
        *SHRUNK,
        f"--config.data.dir={tmp_path}/data",
        "--config.data.image_size=16",
        "--config.data.mixup_alpha=0.2",
        "--config.data.cutmix_alpha=1.0",
    )
    records = read_metrics(tmp_path / "run")
    assert all(np.isfinite(r["loss"]) for r in records)
    assert all("top1" in r for r in records)
