"""Inputs on a grid of any number of dimensions: pixels, patches, runs of samples."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.names import unknown
from perceiver.positions import LearnedPositions, grid_fourier_features


def grid_bytes(
    content: jax.Array,
    *,
    positions: str,
    bands: int,
    max_resolution: Sequence[float],
    spacing: str,
    learned_channels: int,
    learned_init_scale: float,
) -> ByteArray:
    """One input for each point of a grid of any number of dimensions, in row-major order.

    Args:
      content: [B, *grid, C_content].
      positions: 'fourier' features of a point's place in the grid, 'learned', or 'none'.
      bands: K of the Fourier features.
      max_resolution: mu for each dimension; empty for the grid's own size.
      spacing: of the bands, 'linear' or 'log'.
      learned_channels: channels of learned positions.
      learned_init_scale: standard deviation of their initialiser.

    Returns:
      Content [B, M, C_content] and positions [M, C_position], with M the grid's points.

    Raises:
      InputError: another value of `positions`.
    """
    batch, *grid, channels = content.shape
    content = content.reshape(batch, -1, channels)  # [B, M, C_content]
    num_inputs = content.shape[1]
    if positions == "fourier":
        encoding = grid_fourier_features(
            grid, bands=bands, max_resolution=tuple(max_resolution) or grid, spacing=spacing
        )
    elif positions == "learned":
        encoding = LearnedPositions(learned_channels, learned_init_scale)(num_inputs)
    elif positions == "none":
        encoding = jnp.zeros([num_inputs, 0])
    else:
        raise InputError(unknown(positions, ("fourier", "learned", "none"), what="positions"))
    return ByteArray(content, encoding)
