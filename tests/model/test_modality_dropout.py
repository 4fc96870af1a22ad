"""Video dropout (Sec. 4.2): the dropped values, the rate, and no dropout in evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cli.config_files import CONFIGS, load_config
from experiments.run.from_config import from_config
from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.fusion import modality_dropout
from tests.model.networks import byte_array, parameters

RATE = 0.3
INPUTS = byte_array(batch=250, num_inputs=2, content=3)


@jax.jit
def retained(rng, index, inputs=INPUTS, rate=RATE):
    """Returns whether each example retains its content, bool [B]."""
    content = modality_dropout(inputs, rng, index, rate).content
    return jnp.any(content != 0, axis=(1, 2))


class TestDropout:
    def test_about_the_rate_is_dropped(self):
        """Expects 3,000 of 40 x 250 examples, within 4 standard deviations."""
        keys = jax.random.split(jax.random.key(0), 40)
        dropped = ~np.stack([retained(key, np.arange(250)) for key in keys])  # [steps, B]
        assert abs(dropped.sum() - 3_000) < 4 * np.sqrt(10_000 * 0.3 * 0.7)
        # Neither steps nor examples differ in their rates.
        assert np.abs(dropped.sum(1) - 75).max() < 5 * np.sqrt(250 * 0.3 * 0.7)
        assert np.abs(dropped.sum(0) - 12).max() < 5 * np.sqrt(40 * 0.3 * 0.7)

    def test_dropped_content_is_zero_and_the_rest_is_unchanged(self):
        rng, index = jax.random.key(1), np.arange(250)
        after = jax.jit(modality_dropout, static_argnums=3)(INPUTS, rng, index, RATE)
        left = np.asarray(retained(rng, index))
        assert 0 < left.sum() < 250
        np.testing.assert_array_equal(after.content[left], INPUTS.content[left])
        np.testing.assert_array_equal(after.content[~left], 0)
        np.testing.assert_array_equal(after.positions, INPUTS.positions)
        assert after.mask is None

    def test_positions_per_example_are_dropped(self):
        rng, index = jax.random.key(1), np.arange(250)
        positions = jax.random.normal(jax.random.key(2), (250, 2, 7))
        cloud = ByteArray(jnp.zeros([250, 2, 0]), positions)
        after = jax.jit(modality_dropout, static_argnums=3)(cloud, rng, index, RATE)
        left = np.asarray(retained(rng, index))
        np.testing.assert_array_equal(after.positions[left], positions[left])
        np.testing.assert_array_equal(after.positions[~left], 0)

    def test_gradient_passes_through_retained_content(self):
        rng, index = jax.random.key(1), np.arange(250)

        def total(content):
            inputs = INPUTS._replace(content=content)
            return modality_dropout(inputs, rng, index, RATE).content.sum()

        gradient = jax.jit(jax.grad(total))(INPUTS.content)
        left = np.asarray(retained(rng, index))
        np.testing.assert_array_equal(gradient, np.broadcast_to(left[:, None, None], (250, 2, 3)))

    def test_content_that_is_not_finite_is_dropped_too(self):
        index = np.arange(250)
        bad = INPUTS._replace(content=jnp.full_like(INPUTS.content, np.nan))
        content = modality_dropout(bad, jax.random.key(1), index, RATE).content
        left = np.asarray(retained(jax.random.key(1), index))
        np.testing.assert_array_equal(content[~left], 0)
        assert np.isnan(content[left]).all()

    def test_is_a_function_of_key_and_index(self):
        """Independent of the order of the batch and its split among devices."""
        rng, shuffle = jax.random.key(2), np.random.default_rng(0).permutation(250)
        whole = np.asarray(retained(rng, np.arange(250)))
        np.testing.assert_array_equal(retained(rng, shuffle), whole[shuffle])
        part = byte_array(batch=50, num_inputs=2)
        parts = [retained(rng, np.arange(50) + start, part) for start in range(0, 250, 50)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert np.any(retained(jax.random.key(3), np.arange(250)) != whole)

    def test_rate_zero_drops_nothing(self):
        assert modality_dropout(INPUTS, jax.random.key(0), np.arange(250), 0.0).content.all()

    @pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
    def test_rates_out_of_range_are_refused(self, rate):
        with pytest.raises(ValueError, match=r"dropout is .*; give at least 0 and below 1"):
            modality_dropout(INPUTS, jax.random.key(0), np.arange(250), rate)


def small(**dropout):
    """Returns configs/folder.py:sound_video with 4 patches and 30 runs of samples."""
    config = load_config(f"{CONFIGS}/folder.py:sound_video")
    config.data.clip_frames = 2
    config.data.image_size = 16
    for name in config.model.inputs:
        config.model.inputs[name].bands = 3
    config.model.update(
        dict(num_latents=3, latent_channels=16, num_towers=1, self_attends_per_tower=1)
    )
    for name, rate in dropout.items():
        config.model.inputs[name].dropout = rate
    return config


def random_batch(config, size, seed=0):
    draw = np.random.default_rng(seed)
    batch = {
        name: draw.integers(np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max, spec.shape)
        for name, spec in from_config(config).batch_spec(size).items()
    }
    return {
        k: jnp.asarray(v, from_config(config).batch_spec(size)[k].dtype) for k, v in batch.items()
    } | {"index": jnp.arange(size, dtype=jnp.int32)}


class Fixture:
    """The network of a config, with logits under jit."""

    def __init__(self, **dropout):
        self.config = small(**dropout)
        made = from_config(self.config, num_classes=5).network
        self.batch = random_batch(self.config, 60)
        params, state = parameters(made, self.batch)

        def logits(batch, rng, is_training):
            return made.apply(params, state, rng, batch, is_training)[0]

        self.logits = jax.jit(logits, static_argnums=2)

    def depends_on(self, name, rng, is_training=True):
        """Returns whether the logits of each example depend on the modality, bool [B]."""
        other = self.batch | {name: random_batch(self.config, 60, seed=1)[name]}
        before, after = (self.logits(x, rng, is_training) for x in (self.batch, other))
        return np.any(np.asarray(before) != np.asarray(after), axis=1)


class TestNetworkOfAConfig:
    def test_drops_video_as_the_paper_does(self):
        """The logits of about 30% of training examples do not depend on the video."""
        fixture = Fixture()
        assert fixture.config.model.inputs.video.dropout == 0.3
        keys = jax.random.split(jax.random.key(0), 4)
        depends = np.stack([fixture.depends_on("video", key) for key in keys])
        assert abs((~depends).sum() - 72) < 4 * np.sqrt(240 * 0.3 * 0.7)
        assert fixture.depends_on("audio", keys[0]).all()
        assert np.any(depends[0] != depends[1])

        # Dropping an example does not depend on its batch.
        logits = fixture.logits(fixture.batch, keys[0], True)
        shuffle = np.random.default_rng(0).permutation(60)
        for rows in (shuffle, np.arange(20, 40)):
            part = jax.tree.map(lambda x, r=rows: x[r], fixture.batch)
            np.testing.assert_allclose(
                fixture.logits(part, keys[0], True), logits[rows], rtol=1e-4, atol=1e-5
            )

        # Retained examples have the logits of evaluation, which drops nothing.
        evaluated = fixture.logits(fixture.batch, None, False)
        np.testing.assert_allclose(logits[depends[0]], evaluated[depends[0]], rtol=1e-4, atol=1e-5)
        assert np.all(np.abs(logits - evaluated).max(1)[~depends[0]] > 1e-3)
        assert fixture.depends_on("video", None, is_training=False).all()

    def test_two_modalities_are_dropped_independently(self):
        """A quarter of 240 examples each depends on both, on either, and on none."""
        fixture = Fixture(audio=0.5, video=0.5)
        video, audio = (
            np.concatenate([fixture.depends_on(n, jax.random.key(i)) for i in range(4)])
            for n in ("video", "audio")
        )
        for v in (True, False):
            for a in (True, False):
                count = ((video == v) & (audio == a)).sum()
                assert abs(count - 60) < 4 * np.sqrt(240 * 0.25 * 0.75), (v, a, count)

    def test_training_without_dropout_is_evaluation(self):
        fixture = Fixture(video=0.0)
        trained = fixture.logits(fixture.batch, jax.random.key(0), True)
        evaluated = fixture.logits(fixture.batch, None, False)
        np.testing.assert_allclose(trained, evaluated, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("rate", [-0.1, 1.0])
    def test_rates_out_of_range_are_refused(self, rate):
        with pytest.raises(InputError, match=f"dropout is {rate}; give at least 0 and below 1"):
            from_config(small(video=rate))
