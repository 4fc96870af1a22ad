"""Pictures: one input for each pixel (Sec. 4.1)."""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.modalities.grid import grid_bytes, standardise
from perceiver.modalities.modality import Modality
from perceiver.positions import Positions


def image_bytes(
    images: jax.Array, *, mean: Sequence[float], std: Sequence[float], positions: Positions
) -> ByteArray:
    """Returns one input for each pixel, in row-major order (Sec. 4.1).

    Args:
      images: pictures [B, height, width, channels], uint8, where 255 counts as 1, or floats.
      mean: mean of each channel, which is subtracted.
      std: standard deviation of each channel, which pixels are divided by.
      positions: encoding of a pixel's row and column.

    Returns:
      Content [B, height * width, channels] and positions [height * width, C_position].
    """
    chex.assert_rank(images, 4)
    return grid_bytes(standardise(images, mean, std), positions=positions)


def _spec(image_size: int, channels: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((image_size, image_size, channels), jnp.uint8)


IMAGE = Modality(image_bytes, ("image_size", "channels"), _spec)
