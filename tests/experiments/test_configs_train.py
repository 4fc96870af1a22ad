"""Trains a shrunk version of every config and variant for two steps and evaluates it.

The quick tests use variants that together cover every option, config file and network. The slow
tests use the other variants. `test_configs.py` builds all variants at full size.
"""

import itertools
import json

import jax
import numpy as np
import pytest

from experiments import train
from experiments.cli.config_files import all_configs, flatten
from perceiver import library
from perceiver.library.safetensors_files import write_safetensors
from perceiver.training.logging.metrics import read_metrics
from tests.experiments import small_data
from tests.processes import run

pytestmark = pytest.mark.usefixtures("open_decoders")

CONFIGS = dict(all_configs())

# Values for the configs that have the key. Every part of a network remains in use.
SMALL = {
    "data.image_size": 16,
    "data.num_points": 36,
    "data.clip_frames": 8,
    "data.eval_windows": 2,
    "model.num_latents": 4,
    "model.latent_channels": 16,
    "model.self_attends_per_tower": 1,
    "train.steps": 2,
    "train.batch_size": 4,
    "train.log_every": 1,
    "train.checkpoint_every": 2,
    "eval.batch_size": 4,
}
SMALL_NETWORK = {
    "perceiver": {},
    "resnet": {"blocks": (1, 1, 1, 1), "channels": (8, 8, 8, 8)},
    "vit": {"channels": 16, "layers": 2, "heads": 2},
    "transformer": {"channels": 16, "layers": 2, "heads": 2},
}
MAKERS = {
    "image_folder": small_data.pictures,
    "tfds_images": small_data.tfds_pictures,
    "modelnet40": small_data.point_clouds,
    "point_folder": small_data.meshes,
    "clip_folder": small_data.sounds_and_videos,
    "audioset": small_data.audioset,
}


def options(config):
    """Returns the options of a config, in which numbers other than 0 and 1 are equal.

    Options of the model count once per kind of network, except options of byte arrays, which do not
    depend on the network.
    """
    network = config.model.name
    found = {(network, config.data.name)}
    for key, value in flatten(config):
        if key in ("data.dir", "data.tfds_name", "data.train_split", "data.eval_split"):
            continue
        if isinstance(value, tuple) and not all(isinstance(x, str) for x in value):
            value = len(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = value if value in (0, 1) else "a number"
        of_byte_array = key.startswith("model.inputs.") or key == "model.permutation"
        owner = network if key.startswith("model.") and not of_byte_array else None
        found.add((owner, key, type(value).__name__, value))
    return found


# Found by a search for the quickest variants that cover every option.
QUICK = [
    "configs/audioset.py:mel_video_tuned",
    "configs/audioset.py:video_unrolled",
    "configs/audioset.py:sound_amplitude",
    "configs/digits.py",
    "configs/folder.py",
    "configs/folder.py:resnet",
    "configs/folder.py:vit",
    "configs/folder.py:mel",
    "configs/folder.py:sound_video",
    "configs/folder.py:points",
    "configs/imagenet.py:learned_positions",
    "configs/imagenet.py:resnet",
    "configs/imagenet.py:transformer",
    "configs/imagenet.py:vit_ff_permuted",
    "configs/imagenet.py:cross_attends_alone_4",
    "configs/imagenet.py:cross_attends_1_at_start",
    "configs/imagenet.py:ablation",
    "configs/modelnet40.py",
    "configs/modelnet40.py:resnet",
    "configs/modelnet40.py:vit_2",
    "configs/modelnet40.py:transformer",
]


def test_quick_configs_cover_every_option():
    """A new config that fails here has a new option: add it to QUICK."""

    def covered(names):
        files_and_networks = {(n.split(":")[0], CONFIGS[n].model.name) for n in names}
        return files_and_networks.union(*(options(CONFIGS[n]) for n in names))

    assert covered(QUICK) == covered(CONFIGS)
    assert {CONFIGS[n].model.get("permutation") for n in QUICK} == {"none", "fixed", "random"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A function that returns the folder of a data set by name, made at the first call."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            MAKERS[name](made[name])
        return made[name]

    return folder


_tests = itertools.count(1)


@pytest.fixture(autouse=True)
def small_caches(quick_compilation):
    """Drops compiled programs now and then, which would take gigabytes for all configs."""
    yield
    if next(_tests) % 6 == 0:
        jax.clear_caches()


def shrink(config):
    keys = dict(flatten(config))
    config.update_from_flattened_dict({k: v for k, v in SMALL.items() if k in keys})
    config.model.update(SMALL_NETWORK[config.model.name])
    if "patch" in config.model and "image_size" in config.data:
        config.model.patch = 8
    if config.model.get("grid"):
        config.model.grid = (6, 6)
    for number in ("num_cross_attends", "num_towers"):
        if number in config.model:
            config.model[number] = min(config.model[number], 3)
    if config.model.get("unrolled"):  # a cross-attend for each of the 4 time steps of patches
        config.model.num_cross_attends = config.model.num_towers = 4
    for inputs in config.model.inputs.values():
        if "bands" in inputs:
            inputs.bands = 3


@pytest.mark.parametrize("name", QUICK)
def test_quick_configs_train_and_evaluate(name, tmp_path, folders):
    check_training(name, tmp_path, folders)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - set(QUICK)))
def test_other_configs_train_and_evaluate(name, tmp_path, folders):
    check_training(name, tmp_path, folders)


def check_training(name, tmp_path, folders):
    config = CONFIGS[name].copy_and_resolve_references()
    shrink(config)
    if config.data.name == "digits":
        config.data.image_size = 8
    else:
        config.data.dir = str(folders(config.data.name))
    if config.data.name == "tfds_images":
        config.data.tfds_name = "pictures"
    elif config.data.name == "modelnet40":
        config.data.partial = True
    elif config.data.name == "clip_folder":
        config.data.prepared = str(tmp_path / "prepared")
    assert train.train(config, str(tmp_path / "run")) is None
    records = read_metrics(tmp_path / "run")
    assert [r["step"] for r in records if r["split"] == "train"] == [1, 2]
    assert all(np.isfinite(r["loss"]) for r in records)
    assert all(r["gradient_norm"] > 0 for r in records if r["split"] == "train")
    result = json.loads((tmp_path / "run" / "eval.json").read_text())
    assert 0 <= result["mAP" if config.train.loss == "sigmoid" else "top1"] <= 1


def test_audioset_trains_and_evaluates_in_processes(tmp_path, folders):
    """Trains and evaluates as processes, with several labels per clip and both modalities."""
    arguments = [
        "--config=configs/audioset.py:mel_video",
        f"--workdir={tmp_path}",
        f"--config.data.dir={folders('audioset')}",
        *(f"--config.{k}={v}" for k, v in SMALL.items() if k != "data.num_points"),
    ]
    run("train", *arguments)
    out, _ = run("evaluate", *arguments)
    assert "step 2: mAP" in out
    assert "over the 2 classes present in 4 examples" in out


def test_mixed_pictures_train(tmp_path, folders):
    """Half of the pairs use Mixup, the other half CutMix."""
    config = CONFIGS["configs/folder.py"].copy_and_resolve_references()
    shrink(config)
    config.data.dir = str(folders("image_folder"))
    config.data.mixup_alpha, config.data.cutmix_alpha = 0.2, 1.0
    assert train.train(config, str(tmp_path / "run")) is None
    records = read_metrics(tmp_path / "run")
    assert all(np.isfinite(r["loss"]) for r in records)
    assert all("top1" in r for r in records)


def test_a_run_of_an_earlier_version_resumes(tmp_path):
    """Its config.json has the keys of every optimiser, schedule and position encoding."""
    config = CONFIGS["configs/digits.py"].copy_and_resolve_references()
    shrink(config)
    config.data.image_size = 8
    assert train.train(config, str(tmp_path)) is None
    file = tmp_path / "config.json"
    stored = json.loads(file.read_text())
    stored["config"]["optimizer"] |= {
        "momentum": 0.9,
        "boundaries": [],
        "boundaries_epochs": [],
        "factor": 0.1,
    }
    stored["config"]["model"]["inputs"]["image"] |= {
        "learned_channels": 128,
        "learned_init_scale": 1.0,
    }
    file.write_text(json.dumps(stored))
    classifier, images = library.load(tmp_path), np.zeros([1, 8, 8, 1], np.uint8)
    logits = classifier.logits(images)
    classifier.config = stored["config"]  # like an export of an earlier version
    write_safetensors(classifier, tmp_path / "file.safetensors")
    exported = library.load(tmp_path / "file.safetensors")
    np.testing.assert_array_equal(exported.logits(images), logits)
    config.train.steps = 3
    assert train.train(config, str(tmp_path)) is None
    steps = [r["step"] for r in read_metrics(tmp_path) if r["split"] == "train"]
    assert steps == [1, 2, 3]
