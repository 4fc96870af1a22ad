"""Tests all configs and variants: networks at full size, the paper's recipes, keys and choices.

Also tests their reference page and the configs that earlier versions stored.
"""

import dataclasses
import functools
import inspect
import json
import re

import jax
import pytest
from ml_collections import ConfigDict

from configs import choices
from configs.base import base, override
from experiments.cli.config_files import (
    all_configs,
    choice_keys,
    config_files,
    describe,
    flatten,
    key_lines,
    load_config,
)
from experiments.model_table.config_page import PAGE, config_reference
from experiments.run.directory import check_resumable
from experiments.run.from_config import from_config
from perceiver import networks
from perceiver.architecture import Architecture
from perceiver.data.clips.recipe import ClipRecipe
from perceiver.data.images.recipe import ImageRecipe
from perceiver.data.points.clouds import CloudRecipe
from perceiver.errors import InputError
from perceiver.modalities import MODALITIES
from perceiver.model import Perceiver
from perceiver.stored_configs import upgrade
from tests.processes import ROOT

CONFIGS = dict(all_configs())


def test_configs_are_found():
    """Every file with a get_config is found."""
    assert {f.name for f in config_files()} == {
        f.name for f in (ROOT / "configs").glob("*.py") if "def get_config(" in f.read_text()
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_network_at_full_size(name):
    """The network builds, and its number of parameters agrees with the formula."""
    config = CONFIGS[name]
    experiment = from_config(config)
    variables = jax.eval_shape(experiment.initial_variables)
    counted = sum(x.size for x in jax.tree.leaves(variables.params))
    assert counted == experiment.total_cost.parameters
    logits = jax.eval_shape(experiment.predict, variables, experiment.batch_spec(2))
    assert logits.shape == (2, config.data.num_classes)


@pytest.mark.parametrize("name", CONFIGS)
def test_header_has_the_command(name):
    header = (ROOT / name.split(":")[0]).read_text().split('"""')[1]
    assert f"--config={name.split(':')[0]}" in header
    assert "python -m experiments.train" in header


def test_imagenet_is_the_papers_recipe():
    """Sec. 4.1: 120 epochs, 0.004, divided by 10 at epochs 84, 102 and 114."""
    config = CONFIGS["configs/imagenet.py"]
    experiment = from_config(config, num_examples=1_281_167)
    assert experiment.total_cost.parameters == 44_912_254
    assert experiment.total_steps == 150_137
    steps_per_epoch = 1_281_167 / 1024
    for epoch, rate in [(0, 4e-3), (83.9, 4e-3), (84.1, 4e-4), (102.1, 4e-5), (114.1, 4e-6)]:
        assert float(experiment.schedule(round(epoch * steps_per_epoch))) == pytest.approx(
            rate, rel=1e-5
        )


def test_modelnet40_is_the_papers_recipe():
    """Sec. 4.3: 2 cross-attends, 6 self-attends per tower, batch 512, 50,000 steps at 0.001."""
    config = CONFIGS["configs/modelnet40.py"]
    experiment = from_config(config, num_examples=9843)
    assert (config.train.batch_size, experiment.total_steps) == (512, 50_000)
    costs = {cost.part: cost for cost in experiment.costs}
    assert costs["cross-attends"].applied == 2
    assert costs["self-attends"].applied == 12
    schedule = experiment.schedule
    assert float(schedule(0)) == float(schedule(49_999)) == pytest.approx(1e-3)


@pytest.mark.parametrize("name", [n for n in CONFIGS if n.startswith("configs/audioset.py")])
def test_audioset_is_the_papers_recipe(name):
    """Sec. 4.2: 100 epochs, 32 frames, 16 windows, 527 classes; 2 towers of 8, unshared."""
    config = CONFIGS[name]
    assert (config.train.epochs, config.train.loss, config.data.num_classes) == (
        100,
        "sigmoid",
        527,
    )
    assert (config.data.clip_frames, config.data.eval_windows) == (32, 16)
    assert config.model.share_cross_attends is config.model.share_towers is False
    costs = {cost.part: cost.applied for cost in from_config(config).costs}
    assert costs["self-attends"] == 16
    if name.endswith("unrolled"):
        assert costs["cross-attends"] == 16
        return
    assert (costs["cross-attends"], config.model.num_towers) == (2, 2)
    data = config.data
    masks = {bool(data.spec_time_masks), bool(data.spec_frequency_masks)}
    assert masks == {not name.endswith("tuned")}


def test_modalities_of_audioset():
    """Sec. 4.2: 480 runs of 128 samples, 4,800 cells, 12,544 patches; App. E: 111,616 inputs."""

    def inputs(variant):
        config = CONFIGS[f"configs/audioset.py{variant}"]
        _, parts = networks.input_spec(config.model.to_dict(), config.data.to_dict())
        return [(part.num_inputs, part.content.shape[-1]) for part in parts]

    assert inputs("") == [(480, 128)]
    assert inputs(":mel") == [(4800, 1)]
    assert inputs(":video") == [(12_544, 2 * 8 * 8 * 3)]
    assert inputs(":mel_video") == [*inputs(":mel"), *inputs(":video")]
    assert inputs(":sound_video_fine") == [(61_440, 1), (50_176, 2 * 4 * 4 * 3)]
    assert inputs(":sound_amplitude") == [(61_440, 129)]


@pytest.mark.parametrize("patch", [2, 4, 8, 16])
def test_clouds_of_table_4_lie_on_a_grid(patch):
    config = CONFIGS[f"configs/modelnet40.py:vit_{patch}"]
    assert (config.model.patch, tuple(config.model.grid)) == (patch, (44, 44))
    for name in (f"vit_{patch}", "resnet", "transformer"):
        config = CONFIGS[f"configs/modelnet40.py:{name}"]
        assert (config.data.num_points, config.model.permutation) == (44 * 44, "random")
        assert set(config.model.inputs.points.max_resolution) == {2240}
        assert (config.train.batch_size, config.train.steps) == (512, 50_000)


def test_networks_of_imagenet():
    """Table 2 and App. B."""

    def config(variant):
        return CONFIGS[f"configs/imagenet.py:{variant}"]

    for suffix in ("", "_permuted", "_permuted_each"):
        learned = config(f"learned_positions{suffix}").model
        assert (learned.num_cross_attends, learned.num_towers) == (1, 8)
        assert learned.inputs.image.learned_channels == 128
        assert learned.inputs.image.learned_init_scale == 1.0  # App. B
        for rgb in ("resnet", "vit"):
            assert config(f"{rgb}{suffix}").model.inputs.image.positions == "none"
            assert config(f"{rgb}_ff{suffix}").model.inputs.image.bands == 64
    assert config("permuted_each").model.permutation == "random"
    assert config("transformer").data.image_size == 64
    assert tuple(config("transformer").model.inputs.image.max_resolution) == (64, 64)
    small = config("ablation")
    total_steps = from_config(small, num_examples=1_281_167).total_steps
    assert (small.train.batch_size, total_steps) == (64, 5_000_000)
    sizes = (small.model.num_latents, small.model.latent_channels, small.model.num_cross_attends)
    assert sizes == (512, 512, 2)
    assert (small.model.self_attends_per_tower, small.model.self_heads) == (4, 8)


def test_imagenet_networks_accept_a_folder():
    """A folder can be combined with any network; only the data differ."""
    plain, folder = (load_config(f"configs/imagenet.py:vit_ff{x}") for x in ("", ",folder"))
    assert folder.data.name == "image_folder"
    assert folder.model.to_dict() == plain.model.to_dict()
    main = load_config("configs/imagenet.py:folder").model.to_dict()
    assert main == CONFIGS["configs/imagenet.py"].model.to_dict()
    for wrong in ("folder,folder", "vit_ff,foldr", "vit_ff,", "folder,"):
        with pytest.raises(InputError, match="unknown variant"):
            load_config(f"configs/imagenet.py:{wrong}")


class TestChoices:
    """A config has only the keys of the optimiser, schedule and positions that it chooses."""

    @pytest.mark.parametrize("name", CONFIGS)
    def test_configs_have_only_the_keys_of_their_choices(self, name):
        keys = dict(flatten(CONFIGS[name]))
        for key in choice_keys(CONFIGS[name]):
            records = choices.CHOICES[re.sub(r"\.inputs\.\w+\.", ".inputs.*.", key)]
            section = key.rpartition(".")[0]
            all_own = {own for record in records.values() for own in record}
            assert {own for own in all_own if f"{section}.{own}" in keys} == records[
                keys[key]
            ].keys()

    def test_choice_keys(self):
        assert choice_keys(CONFIGS["configs/folder.py:sound_video"]) == [
            "optimizer.name",
            "optimizer.schedule",
            "model.inputs.audio.positions",
            "model.inputs.video.positions",
        ]
        assert choice_keys(CONFIGS["configs/folder.py:points"]) == [
            "optimizer.name",
            "optimizer.schedule",
        ]
        assert choice_keys(ConfigDict()) == []

    def test_a_choice_replaces_its_own_keys_and_keeps_shared_ones(self):
        chosen = {
            "optimizer.name": "sgd",
            "optimizer.schedule": "step",
            "model.inputs.image.positions": "learned",
        }
        config = load_config("configs/digits.py", chosen)
        plain = load_config("configs/digits.py")
        old, new = (dict(flatten(c)) for c in (plain, config))
        image = "model.inputs.image."
        assert old.keys() - new.keys() == {
            *(f"optimizer.{key}" for key in ("b1", "b2", "eps")),
            *(f"{image}{key}" for key in ("bands", "max_resolution", "spacing")),
        }
        assert {key: new[key] for key in new.keys() - old.keys()} == {
            "optimizer.momentum": 0.9,
            "optimizer.boundaries": (),
            "optimizer.boundaries_epochs": (),
            "optimizer.factor": 0.1,
            f"{image}learned_channels": 128,
            f"{image}learned_init_scale": 1.0,
        }
        assert {key: new[key] for key in new if old.get(key, new[key]) != new[key]} == chosen
        from_config(config)

        plain.optimizer.b1 = 0.8
        choices.choose(plain, "optimizer.name", "adamw")
        assert plain.optimizer.b1 == 0.8

    @pytest.mark.parametrize("name", ["lamb", "adamw", "sgd"])
    @pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
    @pytest.mark.parametrize("positions", ["fourier", "learned", "none"])
    def test_every_choice_builds(self, name, schedule, positions):
        """The records of configs/choices.py have the keys that the library expects."""
        chosen = {
            "optimizer.name": name,
            "optimizer.schedule": schedule,
            "model.inputs.image.positions": positions,
        }
        from_config(load_config("configs/digits.py", chosen))

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("optimizer.name", "lamp", "unknown optimizer 'lamp': did you mean 'lamb'?"),
            ("optimizer.schedule", "cosin", "unknown learning rate schedule 'cosin': did you"),
            ("model.inputs.image.positions", "fourrier", "did you mean 'fourier'?"),
            ("optimizer.nam", "sgd", "unknown config key 'optimizer.nam': did you mean"),
        ],
    )
    def test_unknown_choices_are_errors(self, key, value, message):
        with pytest.raises(InputError) as error:
            load_config("configs/digits.py", {key: value})
        assert message in str(error.value)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("optimizer.momentum", 0.5, "optimizer 'lamb' has no key 'momentum'"),
            ("optimizer.boundaries", (5,), "schedule 'cosine' has no key 'boundaries'"),
            ("optimizer.name", "sgd", "optimizer 'sgd' has no key 'b1'"),
            ("model.inputs.image.positions", "none", "positions 'none' has no key 'bands'"),
            ("model.inputs.image.learned_channels", 8, "positions 'fourier' has no key 'learned_"),
        ],
    )
    def test_keys_without_effect_are_errors(self, key, value, message):
        """The key is set in Python, without the choice that it belongs to."""
        config = load_config("configs/digits.py")
        section, _, name = key.rpartition(".")
        values = functools.reduce(lambda values, part: values[part], section.split("."), config)
        values[name] = value
        with pytest.raises(InputError) as error:
            from_config(config)
        assert message in str(error.value)

    def test_overrides_of_unknown_keys_are_errors(self):
        for wrong in ("optimizer.momentum", "train.batchsize", "trian.seed"):
            with pytest.raises(ValueError, match=f"unknown key '{wrong}'"):
                override(base(), {wrong: 1})


class TestReference:
    @pytest.mark.parametrize("name", CONFIGS)
    def test_every_key_has_a_description(self, name):
        described = describe(str(ROOT / name))
        config = CONFIGS[name]
        assert [(key, default) for key, default, _ in described] == list(flatten(config))
        assert not [key for key, _, description in described if not description]

    def test_keys_with_several_meanings(self):
        def description(spec, wanted):
            return {key: text for key, _, text in describe(f"configs/{spec}")}[wanted]

        assert description("imagenet.py:resnet", "model.channels").startswith("Output channels")
        assert description("imagenet.py:vit", "model.channels").startswith("Channels of an input")
        assert description("folder.py:sound", "model.inputs.audio.patch") == "Samples per input"
        assert "rows" in description("folder.py:video", "model.inputs.video.patch")
        assert "TFDS" in description("imagenet.py", "data.tfds_name")
        assert "joined by +" in description("audioset.py", "data.train_split")

    def test_lines_of_help(self):
        lines = key_lines("configs/digits.py")
        assert all(len(line) <= 100 for line in lines)
        (line,) = [line for line in lines if line.startswith("  train.batch_size=")]
        assert line.split(maxsplit=1) == [
            "train.batch_size=64",
            "Examples per step, over all hosts and devices",
        ]
        chosen = key_lines("configs/digits.py", {"optimizer.name": "sgd"})
        assert any(line.startswith("  optimizer.momentum=0.9 ") for line in chosen)

    def test_descriptions_of_a_config_from_elsewhere(self, tmp_path):
        """New keys have the comments of the file; shared keys have those of configs/."""
        text = (ROOT / "configs" / "digits.py").read_text()
        added = "    config.data.speed = 2.0  # playback speed\n    config.data.bare = 1\n"
        config = tmp_path / "mine.py"
        before = "    config.model.num_latents"
        config.write_text(text.replace(before, f"{added}{before}"))
        described = {key: text for key, _, text in describe(str(config))}
        assert described["data.speed"] == "Playback speed"
        assert described["data.bare"] == ""
        assert described["train.steps"] == "Length of the run in steps"

    def test_page_is_current(self):
        assert PAGE.read_text() == config_reference(), (
            "docs/configs.md is out of date: "
            "python -m experiments.model_table --format=config_reference > docs/configs.md"
        )

    def test_page_has_every_key(self):
        page = PAGE.read_text()
        for config in CONFIGS.values():
            for key, _ in flatten(config):
                general = re.sub(r"\.inputs\.\w+\.", ".inputs.MODALITY.", key)
                assert f"| `{key}` |" in page or f"| `{general}` |" in page, key
        for records in choices.CHOICES.values():
            for own in {key for record in records.values() for key in record}:
                assert f".{own}` |" in page


def test_library_defaults_are_the_network_of_the_paper():
    """Configs do not import the library, so these numbers are defined twice."""
    model = CONFIGS["configs/imagenet.py"].model
    sizes = {field.name: field.default for field in dataclasses.fields(Architecture)}
    arithmetic = inspect.signature(Perceiver.__init__).parameters
    computation = {key: arithmetic[key].default for key in ("attention", "dtype", "remat")}
    assert {key: model[key] for key in (sizes | computation)} == sizes | computation


def test_every_modality_is_in_a_config():
    used = {name for config in CONFIGS.values() for name in config.model.inputs}
    assert used == MODALITIES.keys()


# Keys that earlier versions stored in addition to the current keys of configs/digits.py.
OLD_OPTIMIZER = {"momentum": 0.9, "boundaries": [], "boundaries_epochs": [], "factor": 0.1}
OLD_INPUTS = {"learned_channels": 128, "learned_init_scale": 1.0}


class TestStoredConfigs:
    @pytest.fixture
    def workdir(self, tmp_path):
        """A run folder of an earlier version."""
        stored = json.loads(load_config("configs/digits.py").to_json())
        stored["optimizer"] |= OLD_OPTIMIZER
        stored["model"]["inputs"]["image"] |= OLD_INPUTS
        (tmp_path / "config.json").write_text(json.dumps({"config": stored}))
        (tmp_path / "checkpoints" / "5").mkdir(parents=True)
        return tmp_path

    def test_a_run_of_an_earlier_version_resumes_without_insist(self, workdir, capsys):
        check_resumable(workdir, load_config("configs/digits.py"), insist=False)
        assert capsys.readouterr().out == ""

    def test_a_changed_value_is_refused(self, workdir):
        config = load_config("configs/digits.py")
        config.optimizer.b1 = 0.5
        with pytest.raises(InputError, match=r"config\.optimizer\.b1=0\.5, before 0\.9"):
            check_resumable(workdir, config, insist=False)

    @pytest.mark.parametrize("name", CONFIGS)
    def test_stored_configs_are_upgraded_to_this_version(self, name):
        now = json.loads(CONFIGS[name].to_json())
        assert upgrade(now) == now
        stored = json.loads(CONFIGS[name].to_json())
        adam = {"b1": 0.9, "b2": 0.999, "eps": 1e-6}
        stored["optimizer"] = adam | OLD_OPTIMIZER | now["optimizer"]
        fourier = {"bands": 4, "max_resolution": [], "spacing": "linear"}
        for modality, section in now["model"]["inputs"].items():
            if "positions" in section:
                stored["model"]["inputs"][modality] = fourier | OLD_INPUTS | section
        assert upgrade(stored) == now
        of_network = {key: stored[key] for key in ("model", "data", "train")}
        assert upgrade(of_network) == {key: now[key] for key in of_network}


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (ImageRecipe, "configs/imagenet.py"),
        (CloudRecipe, "configs/modelnet40.py"),
        (ClipRecipe, "configs/audioset.py:mel_video"),
    ],
)
def test_defaults_of_recipes_are_the_configs_or_switch_an_augmentation_off(recipe, name):
    data = CONFIGS[name].data
    for field in dataclasses.fields(recipe):
        if field.default is not dataclasses.MISSING:
            assert field.default in (0, data[field.name]), field.name
