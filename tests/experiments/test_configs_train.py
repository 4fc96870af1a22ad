"""Every config and variant: shrunk, trained for two steps and evaluated.

The quick tests take variants that together have every option, file and network that any variant
has. The others, which combine these or differ in sizes and rates, are slow; `test_configs.py`
builds all of them at full size.
"""

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

pytestmark = pytest.mark.usefixtures("kept_decoders")

CONFIGS = dict(all_configs())

# Set in each config that has the key; every part of a network remains in use.
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
    "tfds_images": small_data.pictures_of_tfds,
    "modelnet40": small_data.point_clouds,
    "point_folder": small_data.meshes,
    "clip_folder": small_data.sounds_and_videos,
    "audioset": small_data.audioset,
}


def options(config):
    """Returns the options of a config: values that are not numbers, and whether numbers are 0 or 1.

    Options of the model count once per kind of network, except those of the byte arrays, which do
    not depend on the network.
    """
    network = config.model.name
    chosen = {(network, config.data.name)}
    for key, value in flatten(config):
        if key in ("data.dir", "data.tfds_name", "data.train_split", "data.eval_split"):
            continue
        if isinstance(value, tuple) and not all(isinstance(x, str) for x in value):
            value = len(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = value if value in (0, 1) else "a number"
        of_bytes = key.startswith("model.inputs.") or key == "model.permutation"
        of = network if key.startswith("model.") and not of_bytes else None
        chosen.add((of, key, type(value).__name__, value))
    return chosen


# Found by search: the least time in which every option is taken.
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


def test_the_quick_configs_have_all_that_any_config_has():
    """If a new config fails here, it has something new: put it into QUICK."""

    def having(names):
        files_and_networks = {(n.split(":")[0], CONFIGS[n].model.name) for n in names}
        return files_and_networks.union(*(options(CONFIGS[n]) for n in names))

    assert having(QUICK) == having(CONFIGS)
    assert {CONFIGS[n].model.get("permutation") for n in QUICK} == {"none", "fixed", "random"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A function from the name of a data set to its folder, which the first call makes."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            MAKERS[name](made[name])
        return made[name]

    return folder


@pytest.fixture(autouse=True)
def quick_compilation():
    """Turns off XLA's optimisations, which take longer than two steps."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # programs of all configs would take gigabytes


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
def test_trains_and_evaluates_when_shrunk(name, tmp_path, folders):
    check_training(name, tmp_path, folders)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - set(QUICK)))
def test_others_train_and_evaluate_when_shrunk(name, tmp_path, folders):
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


def test_evaluate_in_a_process(tmp_path, folders):
    """In processes as users start them, with several labels per clip and both modalities."""
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
    """Its config.json has the keys of all optimisers, schedules and position encodings."""
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
    classifier.config = stored["config"]  # as an earlier version exported it
    write_safetensors(classifier, tmp_path / "file.safetensors")
    exported = library.load(tmp_path / "file.safetensors")
    np.testing.assert_array_equal(exported.logits(images), logits)
    config.train.steps = 3
    assert train.train(config, str(tmp_path)) is None
    steps = [r["step"] for r in read_metrics(tmp_path) if r["split"] == "train"]
    assert steps == [1, 2, 3]
