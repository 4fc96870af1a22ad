"""Networks built by name and loaded from runs, compared with training and evaluation."""

import json
import shutil

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from experiments.cli.config_files import all_configs, load_config
from experiments.run.from_config import from_config
from perceiver import library
from perceiver.library import named
from perceiver.modalities import MODALITIES
from perceiver.training.checkpoints import CheckpointError, Checkpoints
from tests.processes import ROOT, TINY

pytestmark = pytest.mark.usefixtures("quick_compilation")

IMAGES = np.uint8(load_digits().images[:5, :, :, None] * 255 / 16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_run):
    """The workdir of a short run, whose moving average differs from its parameters."""
    return shutil.copytree(tiny_run, tmp_path_factory.mktemp("runs") / "digits")


class TestByName:
    def test_networks_agree_with_the_configs(self):
        expected = {}
        for spec, config in all_configs():
            model = config.model.to_dict()
            keys = {key for name in model["inputs"] for key in MODALITIES[name].sizes}
            expected[spec.removeprefix("configs/").replace(".py", "")] = {
                "model": model,
                "data": {key: config.data[key] for key in keys | {"num_classes"}},
                "train": {"loss": config.train.loss},
            }
        assert named.read_networks() == json.loads(json.dumps(expected))
        assert library.names() == list(expected)

    @pytest.mark.parametrize("name", ["digits", "folder:sound"])
    def test_parameters_are_the_initial_ones_of_training(self, name):
        file, _, variant = name.partition(":")
        config = load_config(f"{ROOT}/configs/{file}.py:{variant}")
        ours = library.build(name, num_classes=7, seed=3)
        config.train.seed = 3
        theirs = jax.jit(from_config(config, num_classes=7).initial_variables)()
        jax.tree.map(np.testing.assert_array_equal, (ours.params, ours.state), tuple(theirs))

    def test_number_of_parameters_of_the_paper(self):
        """Table 6 and the text state 44.9 million parameters; no parameter is computed here."""
        shapes = jax.eval_shape(lambda: library.build("imagenet").params)
        assert hk.data_structures.tree_size(shapes) == 44_912_254

    def test_changed_values_of_the_model(self):
        classifier = library.build("digits", num_classes=3, num_latents=5, latent_channels=12)
        assert classifier.logits(IMAGES).shape == (5, 3)
        assert classifier.latents(IMAGES).shape == (5, 5, 12)

    def test_unknown_name_or_key_is_refused(self):
        with pytest.raises(ValueError, match="unknown network 'imagnet': did you mean 'imagenet'"):
            library.build("imagnet")
        with pytest.raises(ValueError, match="did you mean 'num_latents'"):
            library.build("digits", num_latent=4)


class TestRuns:
    def test_load_uses_the_parameters_of_evaluation(self, trained):
        """These are the moving average, here read as part of the whole state of the run."""
        config = load_config(f"{ROOT}/configs/digits.py")
        for argument in TINY[1:]:
            key, value = argument.removeprefix("--config.").split("=")
            section, key = key.split(".")
            config[section][key] = int(value)
        experiment = from_config(config, num_examples=1437)
        network, spec = experiment.network, jax.eval_shape(experiment.initial_state)
        with Checkpoints(
            trained / "checkpoints", keep=2, best_of="top1", read_only=True
        ) as checkpoints:
            step, state, _ = checkpoints.restore(spec)
        logits, _ = network.apply(*state.for_evaluation(), None, {"image": IMAGES}, False)
        classifier = library.load(trained)
        np.testing.assert_allclose(classifier.logits(IMAGES), logits, rtol=1e-5, atol=1e-6)
        raw, _ = network.apply(*state.variables, None, {"image": IMAGES}, False)
        assert np.abs(logits - raw).max() > 1e-3
        assert classifier.step == step == 12
        assert classifier.class_names == tuple("0123456789")

    def test_load_the_best_and_one_by_its_step(self, trained):
        steps = sorted(int(f.name) for f in (trained / "checkpoints").iterdir())
        assert library.load(trained, steps[0]).step == steps[0]
        assert library.load(trained, "best").step in steps
        with pytest.raises(CheckpointError, match="there is no step 5"):
            library.load(trained, 5)

    def test_folders_without_a_run_are_refused(self, trained, tmp_path):
        for path, message in (
            (tmp_path, "is not a run: it has no config.json"),
            (tmp_path / "missing", "is not a run: it has no config.json"),
            (trained / "config.json" / "x", "is neither a run's folder nor a file"),
            (trained / "checkpoints", "is '.*/digits' meant"),
            (trained.parent, "is '.*/digits' meant"),
        ):
            with pytest.raises(library.InputError, match=message):
                library.load(path)
        shutil.copy(trained / "config.json", tmp_path)
        with pytest.raises(library.InputError, match="has no checkpoints/; train there first"):
            library.load(tmp_path)
        config = json.loads((trained / "config.json").read_text())
        del config["class_names"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(library.InputError, match="there once more"):
            library.load(tmp_path)
        (tmp_path / "config.json").write_text('{"config": {"model": 3}}')
        with pytest.raises(library.InputError, match=r"config\.json is damaged"):
            library.load(tmp_path)


class TestCalls:
    def test_probabilities_match_the_loss(self):
        one = library.build("digits")
        logits = np.asarray(np.random.default_rng(0).normal(size=(4, 10)), np.float64)
        exp = np.exp(logits)
        np.testing.assert_allclose(
            one.probabilities_of(logits), exp / exp.sum(-1, keepdims=True), rtol=1e-5
        )
        several = library.Classifier(
            one.config | {"train": {"loss": "sigmoid"}}, one.params, one.state, num_classes=10
        )
        assert several.multi_label
        assert not one.multi_label
        np.testing.assert_allclose(several.probabilities_of(logits), 1 / (1 + 1 / exp), rtol=1e-5)

    def test_bytes_and_floats_of_an_image(self, trained):
        classifier = library.load(trained)
        logits = classifier.logits(IMAGES)
        np.testing.assert_allclose(classifier.logits(IMAGES / 255.0), logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(classifier.logits({"image": IMAGES}), logits)

    def test_head_gets_the_mean_of_the_latents(self, trained):
        classifier = library.load(trained)
        mean = np.asarray(classifier.latents(IMAGES)).mean(1)
        head = classifier.params["perceiver/head"]
        np.testing.assert_allclose(
            classifier.logits(IMAGES), mean @ head["w"] + head["b"], rtol=1e-4, atol=1e-5
        )

    def test_attention_logits_of_chosen_latents(self, trained):
        classifier = library.load(trained)
        every = classifier.attention_logits(IMAGES, (0, 1))
        assert {i: x.shape for i, x in every.items()} == {0: (5, 1, 4, 64), 1: (5, 1, 4, 64)}
        some = classifier.attention_logits(IMAGES, (1,), (3, 0))
        np.testing.assert_allclose(some[1], every[1][:, :, (3, 0), :], rtol=1e-4, atol=1e-5)

    def test_inputs_that_do_not_match_are_refused(self):
        classifier = library.build("digits")
        config = named.read_networks()["folder:sound_video"]
        fused = library.Classifier(config, {}, {}, num_classes=10)
        for inputs, message in (
            (IMAGES[0], r"image is \[8, 8, 1\]; the network takes \[B, 8, 8, 1\]"),
            (IMAGES.astype(np.int64), "image is int64; the network takes uint8, or floats"),
            ({"audio": IMAGES}, r"inputs are \['audio'\]; the network takes \['image'\]"),
        ):
            with pytest.raises(ValueError, match=message):
                classifier.logits(inputs)
        with pytest.raises(ValueError, match="give a mapping of audio, video to arrays"):
            fused.logits(IMAGES)
        spec = fused.inputs
        inputs = {
            name: jnp.zeros((b, *spec[name].shape), spec[name].dtype)
            for name, b in (("audio", 1), ("video", 2))
        }
        with pytest.raises(ValueError, match=r"inputs are of \[1, 2\] examples"):
            fused.logits(inputs)

    def test_only_a_perceiver_has_latents(self):
        config = named.read_networks()["folder:resnet"]
        resnet = library.Classifier(config, {}, {}, num_classes=10)
        with pytest.raises(ValueError, match="is a resnet; only a perceiver has latents and maps"):
            resnet.latents(np.zeros((1, 64, 64, 3), np.uint8))
