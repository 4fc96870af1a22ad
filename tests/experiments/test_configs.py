"""Every config and variant, found by looking, at full size by shape; and the paper's recipes."""

import jax
import pytest

from experiments.cli.config_files import all_configs, config_files, load_config
from experiments.run.from_config import from_config
from perceiver import networks
from perceiver.errors import InputError
from tests.processes import ROOT

CONFIGS = dict(all_configs())


def test_configs_are_found():
    """As many as there are files with a get_config, and none that imports more than it may."""
    assert {f.name for f in config_files()} == {
        f.name for f in (ROOT / "configs").glob("*.py") if "def get_config(" in f.read_text()
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_network_at_full_size(name):
    """It builds, and has as many parameters as the formula says."""
    config = CONFIGS[name]
    experiment = from_config(config)
    variables = jax.eval_shape(experiment.initial_variables)
    counted = sum(x.size for x in jax.tree.leaves(variables.params))
    assert counted == experiment.total_cost.parameters
    logits = jax.eval_shape(experiment.predict, variables, experiment.batch_spec(2))
    assert logits.shape == (2, config.data.num_classes)


@pytest.mark.parametrize("name", CONFIGS)
def test_header_says_how_to_run_it(name):
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
    """Sec. 4.3: 2 cross-attends, 6 self-attends a tower, batch 512, 50,000 steps of 0.001."""
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
    """Sec. 4.2: 100 epochs, 32 frames, 16 windows, 527 classes; two attends of 8, unshared."""
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


def test_pictures_from_a_folder():
    """Any network; its data alone differ."""
    plain, folder = (load_config(f"configs/imagenet.py:vit_ff{x}") for x in ("", ",folder"))
    assert folder.data.name == "image_folder"
    assert folder.model.to_dict() == plain.model.to_dict()
    main = load_config("configs/imagenet.py:folder").model.to_dict()
    assert main == CONFIGS["configs/imagenet.py"].model.to_dict()
    for wrong in ("folder,folder", "vit_ff,foldr", "vit_ff,", "folder,"):
        with pytest.raises(InputError, match="unknown variant"):
            load_config(f"configs/imagenet.py:{wrong}")
