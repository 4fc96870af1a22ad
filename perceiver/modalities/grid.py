"""Inputs on a grid with any number of dimensions: pixels, patches, runs of samples."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.positions import Positions


def grid_bytes(content: jax.Array, *, positions: Positions) -> ByteArray:
    """Returns one input for each point of a grid, in row-major order.

    Args:
      content: content of the points, [B, *grid, C_content].
      positions: encoding of a point's position in the grid.

    Returns:
      Content [B, M, C_content] and positions [M, C_position]; M is the number of points.
    """
    batch, *grid, channels = content.shape
    content = content.reshape(batch, -1, channels)  # [B, M, C_content]
    return ByteArray(content, positions.encode(grid))


def standardise(values: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """Returns (values - mean) / std per channel, float32; an 8-bit value of 255 counts as 1.

    This runs on the device, so that batches travel there as bytes.

    Args:
      values: array [..., channels], uint8 or floats.
      mean: mean of each channel, which is subtracted.
      std: standard deviation of each channel, which values are divided by.

    Raises:
      InputError: a number of values that is not the number of channels, or a std that is not
        positive.
    """
    channels = values.shape[-1]
    if {len(mean), len(std)} != {channels} or not all(0 < x < np.inf for x in std):
        raise InputError(
            f"mean {tuple(mean)} and std {tuple(std)} must have {channels} values, one per "
            "channel, and std must be positive"
        )
    unit = 255.0 if values.dtype == jnp.uint8 else 1.0
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    scale, shift = jnp.asarray(1 / (unit * std), jnp.float32), jnp.asarray(mean / std, jnp.float32)
    return values.astype(jnp.float32) * scale - shift
