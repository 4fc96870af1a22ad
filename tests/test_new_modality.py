"""Runs the code of docs/new_modality.md, from the modality's function to a training run."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import train
from experiments.run.from_config import from_config
from perceiver.data import registry
from perceiver.errors import InputError
from perceiver.modalities import MODALITIES
from perceiver.training.logging.metrics import read_metrics
from tests.model.networks import parameters

PAGE = Path(__file__).parents[1] / "docs" / "new_modality.md"


@pytest.fixture(scope="module")
def page():
    """The names that the code of the page defines. Its registrations are removed at the end."""
    names = {}
    try:
        for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
            exec(compile(code, PAGE.name, "exec"), names)
        yield names
    finally:
        MODALITIES.pop("accelerometer", None)
        registry.LOADERS.pop("recordings", None)


@pytest.fixture
def folder(tmp_path):
    """12 recordings for training and 6 for evaluation, whose movement depends on the class."""
    draw = np.random.default_rng(0)
    for split, number in (("train", 12), ("val", 6)):
        label = np.arange(number) % 4
        np.savez(
            tmp_path / f"{split}.npz",
            image=draw.integers(0, 256, (number, 16, 16, 3), np.uint8),
            accelerometer=np.float32(draw.normal(size=(number, 50, 3)) * label[:, None, None]),
            label=np.int32(label),
        )
    return tmp_path


def test_content_is_in_multiples_of_gravity_and_positions_are_times(page):
    moved = 9.81 * np.random.default_rng(1).normal(size=(2, 5, 3))
    encode = jax.jit(
        lambda x: page["accelerometer_bytes"](x, gravity=9.81, bands=2, max_resolution=8)
    )
    inputs = encode(moved)
    np.testing.assert_allclose(inputs.content, moved / 9.81, rtol=1e-6)
    for t, x in enumerate((-1, -0.5, 0, 0.5, 1)):
        sines = [np.sin(f * np.pi * x) for f in (1, 4)]
        cosines = [np.cos(f * np.pi * x) for f in (1, 4)]
        np.testing.assert_allclose(inputs.position_array()[t], [x, *sines, *cosines], atol=1e-6)


def test_channels_by_hand(page):
    """Sec. 4.2: 3 + 2 (2 x 8 + 1) + 4 = 3 + (2 x 8 + 1) + 21 channels; the logits start at zero."""
    params, gradient = page["params"], page["gradient"]
    assert page["value"] == pytest.approx(np.log(4))
    assert params["image_encoding"]["encoding"].shape == (4,)
    assert params["accelerometer_encoding"]["encoding"].shape == (21,)
    assert np.abs(gradient["perceiver/head"]["b"]).max() > 0.1
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


def test_both_modalities_change_the_logits(page):
    draw = np.random.default_rng(2)
    params = jax.tree.map(
        lambda x: x + jnp.asarray(draw.normal(size=x.shape), jnp.float32), page["params"]
    )
    images, moved = page["images"], page["accelerometer"]
    apply = jax.jit(page["network"].apply)
    logits = apply(params, images, moved)
    assert logits.shape == (2, 4)
    assert np.abs(apply(params, 255 - images, moved) - logits).max(1).min() > 1e-2
    assert np.abs(apply(params, images, -moved) - logits).max(1).min() > 1e-2


class TestConfig:
    def test_config_makes_the_same_network(self, page):
        config = page["get_config"]()
        experiment = from_config(config, num_classes=4)
        spec = experiment.batch_spec(3)
        assert {name: (x.shape, x.dtype.name) for name, x in spec.items()} == {
            "index": ((3,), "int32"),
            "accelerometer": ((3, 50, 3), "float32"),
            "image": ((3, 16, 16, 3), "uint8"),
        }
        params, _ = jax.eval_shape(experiment.network.init, jax.random.key(0), spec)
        shapes = [jax.tree.map(lambda x: x.shape, p) for p in (params, page["params"])]
        assert shapes[0] == shapes[1]
        assert sum(cost.parameters for cost in experiment.costs) == sum(
            np.prod(shape)
            for shape in jax.tree.leaves(shapes[1], is_leaf=lambda x: type(x) is tuple)
        )

    def test_the_modality_is_dropped_in_training_only(self, page):
        config = page["get_config"]()
        network = from_config(config, num_classes=4).network
        draw = np.random.default_rng(3)
        batch = {
            "index": np.arange(40, dtype=np.int32),
            "image": draw.integers(0, 256, (40, 16, 16, 3), np.uint8),
            "accelerometer": draw.normal(size=(40, 50, 3)).astype(np.float32),
        }
        params, state = parameters(network, batch)
        other = batch | {"accelerometer": 5 * batch["accelerometer"]}

        def changed(is_training):
            apply = jax.jit(network.apply, static_argnums=4)
            a, b = (
                apply(params, state, jax.random.key(0), x, is_training)[0] for x in (batch, other)
            )
            return np.any(a != b, axis=1)

        assert changed(is_training=False).all()
        # 28 expected of 40, within 4 standard deviations.
        assert abs(changed(is_training=True).sum() - 28) < 4 * np.sqrt(40 * 0.3 * 0.7)

    @pytest.mark.slow
    def test_config_trains(self, page, folder):
        config = page["get_config"]()
        config.data.dir = str(folder)
        config.train.batch_size, config.train.steps, config.train.log_every = 4, 2, 1
        assert train.train(config, str(folder / "run")) is None
        records = read_metrics(folder / "run")
        assert [r["step"] for r in records if r["split"] == "train"] == [1, 2]
        assert all(np.isfinite(r["loss"]) for r in records)
        assert "top1" in json.loads((folder / "run" / "eval.json").read_text())

    def test_errors_name_the_file(self, page, folder):
        options = dict(name="recordings", image_size=16, channels=3)
        with pytest.raises(
            InputError, match=r"train.npz should have accelerometer \['examples', 9"
        ):
            registry.load(**options, dir=str(folder), num_samples=9)
        with pytest.raises(InputError, match=r"nowhere/train.npz is not there"):
            registry.load(**options, dir=str(folder / "nowhere"), num_samples=50)
