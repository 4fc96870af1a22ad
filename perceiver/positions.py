"""Position encodings: Fourier features of coordinates (Sec. 3.2, App. D), or learned (Table 2)."""

import math
from collections.abc import Sequence

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver.byte_array import GridPositions
from perceiver.errors import InputError
from perceiver.names import look_up


def fourier_frequencies(bands: int, max_resolution: float, spacing: str) -> np.ndarray:
    """The frequencies f_k of one dimension, from 1 to mu / 2 (Sec. 3.2).

    Args:
      bands: K, how many.
      max_resolution: mu, the sampling rate whose Nyquist frequency is the last band.
      spacing: 'linear', or 'log' (App. Fig. 6).

    Returns:
      float64 [K].

    Raises:
      InputError: another spacing, or sizes that give no bands.
    """
    if bands < 1 or not 0 < max_resolution < math.inf:
        raise InputError(
            f"bands is {bands} and max_resolution {max_resolution}; both must be positive"
        )
    space = look_up({"linear": np.linspace, "log": np.geomspace}, spacing, what="spacing")
    return space(1.0, max_resolution / 2, bands)


def fourier_features(
    coordinates: jax.Array,
    *,
    bands: int,
    max_resolution: Sequence[float],
    spacing: str = "linear",
) -> jax.Array:
    """Encodes arbitrary coordinates: for each dimension d, [x_d, sin(f_k pi x_d), cos(f_k pi x_d)].

    In float32 the angles carry a rounding error of about 2e-7 pi f_k: 7e-4 at the 1,120 of
    ModelNet40, which is what the coordinates' own rounding amounts to.

    Args:
      coordinates: [..., d] in [-1, 1].
      bands: K.
      max_resolution: mu of each of the d dimensions.
      spacing: 'linear' or 'log'.

    Returns:
      [..., d (2 K + 1)], of the coordinates' type.
    """
    chex.assert_axis_dimension(coordinates, -1, len(max_resolution))
    features = []
    for d, mu in enumerate(max_resolution):
        x = coordinates[..., d : d + 1]
        frequencies = jnp.asarray(np.pi * fourier_frequencies(bands, mu, spacing), x.dtype)
        features += [x, jnp.sin(x * frequencies), jnp.cos(x * frequencies)]
    return jnp.concatenate(features, axis=-1)


# A grid's columns are the last dimension, or the last two where that is shorter than this: what is
# done for each row is worth its while only where rows are long.
_FEWEST_COLUMNS = 64

# Places in a table of the encodings along a dimension.
_LARGEST_TABLE = 512


def grid_fourier_features(
    shape: Sequence[int],
    *,
    bands: int,
    max_resolution: Sequence[float],
    spacing: str = "linear",
) -> GridPositions:
    """Encodes the points of a grid that spans [-1, 1] in each dimension, in row-major order.

    A grid's encoding is made of one table for each dimension, computed in float64, so that it is
    correct to float32 rounding. No large table is a constant in the program: one of more than 1,024
    places is made on the device from two small ones, to 2e-7.

    Args:
      shape: the grid's size in each of its d dimensions; M is their product.
      bands: K.
      max_resolution: mu of each dimension.
      spacing: 'linear' or 'log'.

    Returns:
      float32 [M, d (2 K + 1)].
    """
    if len(shape) != len(max_resolution):
        raise InputError(
            f"max_resolution is {tuple(max_resolution)}; the inputs have {len(shape)} dimensions, "
            "one value for each"
        )
    tables = [
        _axis_features(size, np.pi * fourier_frequencies(bands, mu, spacing))
        for size, mu in zip(shape, max_resolution, strict=True)
    ]
    split = len(shape) - 1
    if split > 1 and shape[-1] < _FEWEST_COLUMNS:
        split -= 1
    rows, columns = _merged(tables[:split]), _merged(tables[split:])
    return GridPositions(
        jnp.pad(rows, [(0, 0), (0, columns.shape[-1])]),
        jnp.pad(columns, [(0, 0), (rows.shape[-1], 0)]),
    )


def _axis_features(size: int, frequencies: np.ndarray) -> jax.Array:
    """[x, sin(f x), cos(f x)] of places x from -1 to 1, float32 [size, 2 K + 1]."""
    x = np.linspace(-1.0, 1.0, size) if size > 1 else np.zeros(1)
    if size <= 2 * _LARGEST_TABLE:
        angles = x[:, None] * frequencies
        features = np.concatenate([x[:, None], np.sin(angles), np.cos(angles)], axis=-1)
        return jnp.asarray(features, jnp.float32)
    # Of a place that is a coarse one and a fine step further, by the addition theorem.
    starts = x[::_LARGEST_TABLE, None] * frequencies
    steps = (x[:_LARGEST_TABLE, None] - x[0]) * frequencies
    sin_a, cos_a = (jnp.asarray(f(starts), jnp.float32)[:, None] for f in (np.sin, np.cos))
    sin_b, cos_b = (jnp.asarray(f(steps), jnp.float32) for f in (np.sin, np.cos))
    sines, cosines = sin_a * cos_b + cos_a * sin_b, cos_a * cos_b - sin_a * sin_b
    waves = jnp.concatenate([sines, cosines], axis=-1)
    waves = waves.reshape(-1, waves.shape[-1])[:size]
    return jnp.concatenate([jnp.asarray(x[:, None], jnp.float32), waves], axis=-1)


def _merged(tables: Sequence[jax.Array]) -> jax.Array:
    """Encodings [size_d, C_d] of several dimensions as those of one, row-major: [prod, sum]."""
    merged = jnp.zeros([1, 0])
    for table in tables:
        before = jnp.repeat(merged, len(table), axis=0)
        merged = jnp.concatenate([before, jnp.tile(table, (len(merged), 1))], axis=-1)
    return merged


class LearnedPositions(hk.Module):
    """A trained vector for each input index, initialised like the latents (Sec. 4.1, Table 2).

    The paper's model has 128 channels and, unlike the latents' 0.02, a scale of 1.0 (App. B).
    """

    def __init__(self, channels: int, init_scale: float, name: str = "learned_positions"):
        """Takes the number of channels and the truncated normal's standard deviation.

        Raises:
          InputError: one that is not positive.
        """
        super().__init__(name=name)
        if channels < 1 or not 0 < init_scale < math.inf:
            raise InputError(
                f"learned_channels is {channels} and learned_init_scale {init_scale}; "
                "both must be positive"
            )
        self._channels = channels
        self._init = hk.initializers.TruncatedNormal(init_scale)

    def __call__(self, num_inputs: int) -> jax.Array:
        """Position encodings, float32 [M, channels]."""
        return hk.get_parameter(
            "positions", [num_inputs, self._channels], jnp.float32, init=self._init
        )
