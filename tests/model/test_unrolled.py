"""Temporal unrolling, "one frame per cross-attend" (Sec. 4.2), against NumPy float64."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cli.config_files import CONFIGS, load_config
from experiments.run.from_config import from_config
from perceiver import networks
from perceiver.errors import InputError
from perceiver.modalities.video import video_bytes
from perceiver.positions import Fourier
from tests.model import reference
from tests.model.gradients import assert_gradient_agrees
from tests.model.networks import SMALL, byte_array, expected, network, parameters

STEPS, SEGMENT = 4, 13
UNROLLED = SMALL | dict(num_cross_attends=STEPS, num_towers=STEPS, unrolled=True)


def inputs_of(batch=2, mask=None):
    return byte_array(batch=batch, num_inputs=STEPS * SEGMENT, mask=mask)


def random_mask(batch=2):
    """Returns a mask with a single valid input in the third step of the first example."""
    mask = np.random.default_rng(3).random((batch, STEPS * SEGMENT)) < 0.6
    mask[0, 2 * SEGMENT : 3 * SEGMENT] = np.arange(SEGMENT) == 5
    return jnp.asarray(mask)


def assert_agrees(sizes, inputs, **options):
    sizes = UNROLLED | sizes
    classify, encode = network(sizes, **options)
    params = parameters(classify, inputs)
    wanted = expected(params, inputs, sizes, unrolled=True)
    logits = jax.jit(classify.apply)(params, inputs)
    np.testing.assert_allclose(logits, [x for x, _ in wanted], rtol=2e-5, atol=2e-5)
    return params, encode, wanted


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        dict(share_cross_attends=False),
        dict(share_cross_attends=False, share_towers=False),
        dict(share_towers=False),
        dict(num_towers=6),
        dict(num_towers=2),
        dict(num_towers=0),
        dict(cross_attends_at_start=True, num_towers=2),
        dict(num_cross_attends=2, num_towers=2),
        dict(num_cross_attends=1, num_towers=2),
    ],
    ids=str,
)
def test_forward_equals_numpy_with_segments(sizes):
    assert_agrees(sizes, inputs_of())


@pytest.mark.parametrize(
    ("shared", "remat"),
    [
        (True, "block"),
        (False, "none"),
        pytest.param(True, "none", marks=pytest.mark.slow),
        pytest.param(False, "block", marks=pytest.mark.slow),
    ],
)
def test_mask_and_rematerialisation_equal_numpy(shared, remat):
    assert_agrees(dict(share_cross_attends=shared), inputs_of(mask=random_mask()), remat=remat)


@pytest.mark.parametrize("shared", [True, False])
def test_maps_show_the_segment(shared):
    inputs = inputs_of()
    params, encode, results = assert_agrees(dict(share_cross_attends=shared), inputs)
    encode = jax.jit(encode, static_argnames="logits_of")
    for wanted in [(0,), (2,), (1, 3), (0, 1, 2, 3)]:
        _, maps = encode(params, inputs, logits_of=wanted)
        assert sorted(maps) == sorted(wanted)
        for index in wanted:
            assert maps[index].shape == (2, 1, 7, SEGMENT)
            expected_logits = np.stack([m[index] for _, m in results])
            np.testing.assert_allclose(maps[index], expected_logits, rtol=1e-4, atol=2e-5)


def test_shared_steps_are_a_loop_and_the_loop_changes_nothing():
    """Requesting the maps of every cross-attend takes each out of the loop."""
    inputs = inputs_of(mask=random_mask())
    classify, encode = network(UNROLLED)
    params = parameters(classify, inputs)
    encode = jax.jit(encode, static_argnames="logits_of")
    looped, _ = encode(params, inputs)
    written_out, _ = encode(params, inputs, logits_of=tuple(range(STEPS)))
    np.testing.assert_allclose(looped, written_out, rtol=1e-5, atol=1e-5)

    lengths = []
    for n in (4, 26):
        classify, _ = network(UNROLLED | dict(num_cross_attends=n, num_towers=n))
        params = parameters(classify, inputs)
        lengths.append(len(str(jax.make_jaxpr(classify.apply)(params, inputs))))
    assert abs(lengths[1] - lengths[0]) < 100


@pytest.mark.parametrize("shared", [True, False])
def test_a_step_affects_its_cross_attend_and_later_ones(shared):
    inputs = inputs_of()
    classify, encode = network(UNROLLED | dict(share_cross_attends=shared))
    params = parameters(classify, inputs)
    encode = jax.jit(encode, static_argnames="logits_of")
    steps = tuple(range(STEPS))
    before, maps_before = encode(params, inputs, logits_of=steps)
    for changed in steps:
        content = inputs.content.at[:, changed * SEGMENT : (changed + 1) * SEGMENT].add(1.0)
        after, maps_after = encode(params, inputs._replace(content=content), logits_of=steps)
        for step in steps:
            difference = np.abs(maps_after[step] - maps_before[step]).max()
            assert difference == 0 if step < changed else difference > 1e-3, (changed, step)
        assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize(("shared", "wanted"), [(True, {13, 39}), (False, {13})])
def test_keys_are_computed_for_the_segments_alone(shared, wanted):
    """No cross-attend projects inputs that it does not attend to."""
    inputs = byte_array(num_inputs=STEPS * SEGMENT, content=4)
    classify, _ = network(UNROLLED | dict(share_cross_attends=shared))
    params = parameters(classify, inputs)
    program = str(jax.make_jaxpr(classify.apply)(params, inputs))
    # One or three segments [2, 13, 14].
    projected = re.findall(r"f32\[([13]),2,13,14\] = dot_general", program)
    assert {int(count) * SEGMENT for count in projected} == wanted


@pytest.mark.parametrize("sizes", [{}, dict(share_cross_attends=False)], ids=str)
def test_gradient_equals_finite_differences_of_numpy(sizes):
    """Compares with central differences of the NumPy network, in random directions."""
    sizes = UNROLLED | sizes
    inputs = inputs_of(batch=1, mask=random_mask(1))
    classify, _ = network(sizes)
    params = parameters(classify, inputs)
    assert_gradient_agrees(
        classify.apply, lambda p: expected(p, inputs, sizes, unrolled=True)[0], params, inputs
    )


@pytest.mark.slow
def test_rematerialised_gradient_is_the_same():
    inputs = inputs_of(mask=random_mask())
    gradients = []
    for remat in ("none", "block"):
        classify, _ = network(UNROLLED, remat=remat)
        params = parameters(classify, inputs)
        loss = lambda p, f=classify.apply: jnp.square(f(p, inputs)).sum()  # noqa: E731
        gradients.append(jax.jit(jax.grad(loss))(params))
    largest = max(np.abs(x).max() for x in jax.tree.leaves(gradients[0]))
    for saved, recomputed in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(recomputed, saved, rtol=0, atol=1e-6 * largest)


def test_a_step_without_valid_inputs_is_finite():
    mask = random_mask().at[:, SEGMENT : 2 * SEGMENT].set(False)
    inputs = inputs_of(mask=mask)
    classify, _ = network(UNROLLED)
    params = parameters(classify, inputs)
    loss = lambda p: jnp.square(classify.apply(p, inputs)).sum()  # noqa: E731
    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((value, gradient)))


def test_cross_attends_of_a_video_attend_to_one_frame_pair_each():
    """The reference gets the patches of each pair of frames, cut from these frames alone."""
    video = np.random.default_rng(1).normal(size=(1, 2 * STEPS, 4, 6, 3)).astype(np.float32)
    inputs = video_bytes(
        video,
        patch=(2, 2, 3),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        positions=Fourier(bands=2, max_resolution=(), spacing="linear"),
    )
    classify, _ = network(UNROLLED)
    params = parameters(classify, inputs)
    z = np.float64(params["perceiver"]["latents"])
    for step in range(STEPS):
        frames = np.float64(video[0, 2 * step : 2 * step + 2])
        patches = [
            frames[:, row : row + 2, column : column + 3].ravel()
            for row in (0, 2)
            for column in (0, 3)
        ]
        time = np.full((4, 1), -1 + 2 * step / (STEPS - 1))
        places = np.concatenate([time, reference.grid(2, 2)], -1)
        positions = reference.fourier_features(places, 2, (STEPS, 2, 2))
        inputs_of_step = np.concatenate([patches, positions], -1)
        assert inputs_of_step.shape == (4, 36 + 15)
        name = f"perceiver/cross_attend_{min(step, 1)}"
        z, _ = reference.cross_attend(params, name, z, inputs_of_step, 1)
        for layer in range(2):
            z = reference.self_attend(params, f"perceiver/tower_0/self_attend_{layer}", z, 2)
    wanted = reference.linear(params, "perceiver/head", z.mean(0))
    logits = jax.jit(classify.apply)(params, inputs)
    np.testing.assert_allclose(logits[0], wanted, rtol=2e-5, atol=2e-5)


def test_the_config_has_a_cross_attend_for_each_time_step():
    """12,544 patches of 32 frames form 16 time steps of 28 x 28 patches."""
    config = load_config(f"{CONFIGS}/audioset.py:video_unrolled")
    sizes = networks.architecture(config.model.to_dict())
    assert sizes.unrolled
    assert sizes.num_cross_attends == 32 // config.model.inputs.video.patch[0] == 16
    assert sizes.inputs_per_cross_attend(12_544) == 28 * 28


def test_inputs_that_do_not_divide_are_refused():
    classify, _ = network(UNROLLED)
    message = "num_cross_attends is 4, which does not divide the 53 inputs"
    with pytest.raises(ValueError, match=message):
        classify.init(jax.random.key(0), byte_array(num_inputs=53))


class TestConfigsThatAreRefused:
    @staticmethod
    def config(variant):
        config = load_config(f"{CONFIGS}/folder.py:{variant}")
        config.model.unrolled = True
        return config

    def test_of_fused_modalities(self):
        """Their inputs are not in the order of time."""
        with pytest.raises(InputError, match=r"unrolled=True takes one.*\['audio', 'video'\]"):
            from_config(self.config("sound_video"))

    def test_of_permuted_inputs(self):
        config = self.config("video")
        config.model.permutation = "fixed"
        with pytest.raises(InputError, match=r"in its own order, .*permutation=fixed"):
            from_config(config)

    def test_of_inputs_that_do_not_divide(self):
        config = self.config("video")  # 16 x 8 x 8 patches
        config.model.num_cross_attends = 3
        with pytest.raises(InputError, match="num_cross_attends is 3, which does not divide"):
            from_config(config)
        config.model.num_cross_attends = 16
        from_config(config)
