"""Position encodings: Fourier features of coordinates (Sec. 3.2, App. D), or learned (Table 2).

The records `Fourier`, `Learned` and `NoPositions` encode the points of a grid. The functions of
`perceiver.modalities` take one of them.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver.byte_array import GridPositions
from perceiver.errors import InputError
from perceiver.names import build, look_up


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fourier:
    """Fourier features of the points of a grid (Sec. 3.2).

    Attributes:
      bands: K, the number of frequencies per dimension.
      max_resolution: mu for each dimension; empty for the grid's size.
      spacing: spacing of the frequencies, 'linear' or 'log'.
    """

    bands: int
    max_resolution: Sequence[float]
    spacing: str

    def encode(self, grid: Sequence[int]) -> GridPositions:
        """Returns the encodings of the M points of a grid with d dimensions, [M, d (2 K + 1)]."""
        return grid_fourier_features(
            grid,
            bands=self.bands,
            max_resolution=tuple(self.max_resolution) or grid,
            spacing=self.spacing,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned:
    """A trained vector for each point of a grid (Table 2).

    Attributes:
      channels: number of channels of the vectors.
      init_scale: standard deviation of their initialiser, a truncated normal.
    """

    channels: int
    init_scale: float

    def encode(self, grid: Sequence[int]) -> jax.Array:
        """Returns the encodings of the M points, float32 [M, channels], in a Haiku transform."""
        return LearnedPositions(self.channels, self.init_scale)(math.prod(grid))


@dataclasses.dataclass(frozen=True)
class NoPositions:
    """No position encoding: the content alone, as in the baselines on RGB."""

    def encode(self, grid: Sequence[int]) -> jax.Array:
        """Returns encodings without channels, [M, 0]."""
        return jnp.zeros([math.prod(grid), 0])


Positions = Fourier | Learned | NoPositions


def make_positions(name: str, **own) -> Positions:
    """Builds a position encoding from the keys of a config.

    Args:
      name: 'fourier', 'learned' or 'none'.
      **own: for 'fourier' `bands`, `max_resolution` and `spacing`; for 'learned'
        `learned_channels` and `learned_init_scale`; nothing for 'none'.

    Raises:
      InputError: an unknown name, a key that this encoding does not have, or a missing one.
    """
    return build(_POSITIONS, name, what="positions", own=own)


def _learned(*, learned_channels: int, learned_init_scale: float) -> Learned:
    return Learned(channels=learned_channels, init_scale=learned_init_scale)


_POSITIONS: dict[str, Callable[..., Positions]] = {
    "fourier": Fourier,
    "learned": _learned,
    "none": NoPositions,
}


_SPACINGS: dict[str, Callable[..., np.ndarray]] = {
    "linear": np.linspace,
    "log": np.geomspace,
}


def fourier_frequencies(bands: int, max_resolution: float, spacing: str) -> np.ndarray:
    """Returns the frequencies f_k of one dimension, from 1 to mu / 2 (Sec. 3.2).

    Args:
      bands: K, the number of frequencies.
      max_resolution: mu, the sampling rate whose Nyquist frequency is the last band.
      spacing: 'linear', or 'log' (App. Fig. 6).

    Returns:
      float64 [K].

    Raises:
      InputError: an unknown spacing, or a size that is not positive.
    """
    if bands < 1 or not 0 < max_resolution < math.inf:
        raise InputError(
            f"bands is {bands} and max_resolution {max_resolution}; both must be positive"
        )
    return look_up(_SPACINGS, spacing, what="spacing")(1.0, max_resolution / 2, bands)


def fourier_features(
    coordinates: jax.Array,
    *,
    bands: int,
    max_resolution: Sequence[float],
    spacing: str = "linear",
) -> jax.Array:
    """Encodes arbitrary coordinates: for each dimension d, [x_d, sin(f_k pi x_d), cos(f_k pi x_d)].

    In float32 the angles carry a rounding error of about 2e-7 pi f_k: 7e-4 at ModelNet40's highest
    frequency, 1,120. The rounding of the coordinates alone is as large.

    Args:
      coordinates: array [..., d] in [-1, 1].
      bands: K, the number of frequencies per dimension.
      max_resolution: mu for each of the d dimensions.
      spacing: spacing of the frequencies, 'linear' or 'log'.

    Returns:
      Features [..., d (2 K + 1)] in the dtype of the coordinates.
    """
    chex.assert_axis_dimension(coordinates, -1, len(max_resolution))
    features = []
    for d, mu in enumerate(max_resolution):
        x = coordinates[..., d : d + 1]
        frequencies = jnp.asarray(np.pi * fourier_frequencies(bands, mu, spacing), x.dtype)
        features += [x, jnp.sin(x * frequencies), jnp.cos(x * frequencies)]
    return jnp.concatenate(features, axis=-1)


# The columns of a grid are its last dimension, or its last two if the last is shorter than this:
# work per row pays off only for long rows.
_FEWEST_COLUMNS = 64

# Largest number of coordinates in a constant table of encodings along one dimension.
_LARGEST_TABLE = 512


def grid_fourier_features(
    shape: Sequence[int],
    *,
    bands: int,
    max_resolution: Sequence[float],
    spacing: str = "linear",
) -> GridPositions:
    """Encodes the points of a grid that spans [-1, 1] in each dimension, in row-major order.

    The encoding consists of one table per dimension, computed in float64, so it is correct to
    float32 rounding. The program contains no large constant: a table with more than 1,024
    coordinates is computed on the device from two small ones, with an error of at most 2e-7.

    Args:
      shape: the grid's size in each of its d dimensions; M is their product.
      bands: K, the number of frequencies per dimension.
      max_resolution: mu for each dimension.
      spacing: spacing of the frequencies, 'linear' or 'log'.

    Returns:
      Features, float32 [M, d (2 K + 1)].

    Raises:
      InputError: max_resolution has another number of dimensions than the grid.
    """
    if len(shape) != len(max_resolution):
        raise InputError(
            f"max_resolution is {tuple(max_resolution)}; the inputs have {len(shape)} dimensions: "
            "give one value for each"
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
    """Returns [x, sin(f x), cos(f x)] of coordinates x from -1 to 1, float32 [size, 2 K + 1]."""
    x = np.linspace(-1.0, 1.0, size) if size > 1 else np.zeros(1)
    if size <= 2 * _LARGEST_TABLE:
        angles = x[:, None] * frequencies
        features = np.concatenate([x[:, None], np.sin(angles), np.cos(angles)], axis=-1)
        return jnp.asarray(features, jnp.float32)
    # Each coordinate is a coarse one plus a fine step; the addition theorem combines their waves.
    starts = x[::_LARGEST_TABLE, None] * frequencies
    steps = (x[:_LARGEST_TABLE, None] - x[0]) * frequencies
    sin_a, cos_a = (jnp.asarray(f(starts), jnp.float32)[:, None] for f in (np.sin, np.cos))
    sin_b, cos_b = (jnp.asarray(f(steps), jnp.float32) for f in (np.sin, np.cos))
    sines, cosines = sin_a * cos_b + cos_a * sin_b, cos_a * cos_b - sin_a * sin_b
    waves = jnp.concatenate([sines, cosines], axis=-1)
    waves = waves.reshape(-1, waves.shape[-1])[:size]
    return jnp.concatenate([jnp.asarray(x[:, None], jnp.float32), waves], axis=-1)


def _merged(tables: Sequence[jax.Array]) -> jax.Array:
    """Merges encodings [size_d, C_d] of several dimensions into one, row-major: [prod, sum]."""
    merged = jnp.zeros([1, 0])
    for table in tables:
        before = jnp.repeat(merged, len(table), axis=0)
        merged = jnp.concatenate([before, jnp.tile(table, (len(merged), 1))], axis=-1)
    return merged


class LearnedPositions(hk.Module):
    """A trained vector for each input index, initialised like the latents (Sec. 4.1, Table 2).

    The paper's model has 128 channels and a scale of 1.0, where the latents have 0.02 (App. B).
    """

    def __init__(self, channels: int, init_scale: float, name: str = "learned_positions"):
        """Stores the number of channels and the truncated normal's standard deviation.

        Raises:
          InputError: a value that is not positive.
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
        """Returns the position encodings, float32 [M, channels]."""
        return hk.get_parameter(
            "positions", [num_inputs, self._channels], jnp.float32, init=self._init
        )
