"""Position encodings against NumPy float64 and the sizes in the paper."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.errors import InputError
from perceiver.modalities.grid import grid_bytes
from perceiver.modalities.points import point_bytes
from perceiver.positions import (
    Fourier,
    Learned,
    NoPositions,
    fourier_features,
    fourier_frequencies,
    grid_fourier_features,
    make_positions,
)
from tests.model import reference

FOURIER = dict(positions="fourier", bands=64, max_resolution=(224, 224), spacing="linear")


def test_frequencies_run_from_1_to_nyquist():
    linear = fourier_frequencies(64, 224, "linear")
    assert (linear[0], linear[-1], len(linear)) == (1, 112, 64)
    np.testing.assert_allclose(np.diff(linear), 111 / 63)
    log = fourier_frequencies(64, 224, "log")
    assert (log[0], log[-1]) == pytest.approx((1, 112))
    np.testing.assert_allclose(log[1:] / log[:-1], 112 ** (1 / 63))


@pytest.mark.parametrize("spacing", ["linear", "log"])
@pytest.mark.parametrize("shape", [(11,), (5, 7), (3, 5, 7), (1, 4)], ids=str)
def test_grid_equals_numpy(shape, spacing):
    resolution = tuple(10.0 + 3 * d for d in range(len(shape)))
    got = jax.jit(
        grid_fourier_features(shape, bands=6, max_resolution=resolution, spacing=spacing).array
    )()
    coordinates = reference.grid(*shape)
    if shape[0] == 1:
        coordinates[:, 0] = 0  # a dimension of one point is at the centre
    wanted = reference.fourier_features(coordinates, 6, resolution, log=spacing == "log")
    np.testing.assert_allclose(got, wanted, atol=1e-7)


def test_long_dimension_equals_numpy():
    """A clip's 61,440 samples, at frequencies up to Nyquist."""
    options = dict(bands=64, max_resolution=(61_440,))
    got = jax.jit(grid_fourier_features((61_440,), **options).array)()
    wanted = reference.fourier_features(reference.grid(61_440), 64, (61_440,))
    np.testing.assert_allclose(got, wanted, atol=2e-7)


def test_imagenet_has_258_channels():
    got = grid_fourier_features((224, 224), bands=64, max_resolution=(224, 224))
    assert got.shape == (50176, 258)
    wanted = reference.fourier_features(reference.grid(224, 224), 64, (224, 224))
    np.testing.assert_allclose(got.array(), wanted, atol=1e-7)


def test_points_equal_numpy():
    points = np.random.default_rng(0).uniform(-1, 1, (2, 300, 3)).astype(np.float32)
    options = dict(bands=64, max_resolution=(2240.0,) * 3)
    got = jax.jit(lambda x: fourier_features(x, **options))(points)
    assert got.shape == (2, 300, 3 * 129)
    for b in range(2):
        wanted = reference.fourier_features(np.float64(points[b]), 64, (2240,) * 3)
        np.testing.assert_allclose(got[b], wanted, atol=7e-4)  # the docstring's bound


def test_grid_bytes_are_pixels_in_row_major_order():
    images = np.random.default_rng(0).random((2, 3, 5, 4)).astype(np.float32)
    bytes_ = grid_bytes(images, positions=Fourier(bands=2, max_resolution=(), spacing="linear"))
    np.testing.assert_array_equal(bytes_.content[1, 1 * 5 + 2], images[1, 1, 2])
    wanted = reference.fourier_features(reference.grid(3, 5), 2, (3, 5))
    np.testing.assert_allclose(bytes_.position_array(), wanted, atol=1e-7)
    assert bytes_.channels == 4 + 2 * (2 * 2 + 1)


@pytest.mark.parametrize(
    "change", [dict(learned_channels=0), dict(learned_init_scale=float("nan"))], ids=str
)
def test_learned_positions_of_no_size(change):
    positions = make_positions(
        "learned", **(dict(learned_channels=128, learned_init_scale=1.0) | change)
    )
    forward = hk.transform(lambda x: grid_bytes(x, positions=positions))
    with pytest.raises(ValueError, match="both must be positive"):
        forward.init(jax.random.key(0), jnp.zeros([1, 4, 4, 3]))


def test_learned_positions():
    learned = Learned(channels=128, init_scale=1.0)
    forward = hk.transform(lambda x: grid_bytes(x, positions=learned))
    images = jnp.zeros([1, 32, 32, 3])
    params = forward.init(jax.random.key(0), images)
    (positions,) = jax.tree.leaves(params)
    assert positions.shape == (1024, 128)
    assert positions.std() == pytest.approx(0.8796, rel=0.01)  # of scale 1, cut at 2
    np.testing.assert_array_equal(forward.apply(params, None, images).position_array(), positions)


def test_no_positions():
    assert grid_bytes(jnp.zeros([1, 4, 4, 3]), positions=NoPositions()).channels == 3


def test_points_have_no_content():
    bytes_ = point_bytes(
        jnp.zeros([2, 9, 3]), bands=64, max_resolution=(2240.0,) * 3, spacing="linear"
    )
    assert bytes_.content.shape == (2, 9, 0)
    assert bytes_.positions.shape == (2, 9, 387)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(spacing="cubic"), "unknown spacing 'cubic'"),
        (dict(positions="sine"), "unknown positions 'sine'"),
        (dict(positions="fourrier"), "did you mean 'fourier'"),
        (dict(bands=0), "bands is 0"),
        (dict(max_resolution=(224,)), "one value for each"),
    ],
    ids=str,
)
def test_wrong_values_are_errors(change, message):
    def encode(positions, **own):
        return grid_bytes(jnp.zeros([1, 4, 4, 3]), positions=make_positions(positions, **own))

    with pytest.raises(ValueError, match=message):
        encode(**(FOURIER | change))


@pytest.mark.parametrize(
    ("name", "own", "message"),
    [
        ("learned", dict(bands=4), "positions 'learned' has no key 'bands'"),
        ("none", dict(bands=4), "positions 'none' has no key 'bands': it has no keys of its own"),
        ("fourier", dict(bandz=4), "positions 'fourier' has no key 'bandz': did you mean 'bands'"),
        ("fourier", dict(bands=4, spacing="log"), "'fourier' needs the key 'max_resolution'"),
    ],
)
def test_keys_of_another_encoding_are_errors(name, own, message):
    with pytest.raises(InputError, match=message):
        make_positions(name, **own)
