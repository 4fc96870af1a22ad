"""Pictures: one input for each pixel (Sec. 4.1)."""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.modalities.grid import grid_bytes
from perceiver.modalities.modality import Modality
from perceiver.modalities.normalisation import normalised


def image_bytes(
    images: jax.Array, *, mean: Sequence[float], std: Sequence[float], **encoding
) -> ByteArray:
    """One input for each pixel, in row-major order (Sec. 4.1).

    Args:
      images: [B, height, width, channels], uint8, of which 255 counts as 1, or floats.
      mean: of each channel, taken off.
      std: of each channel, divided by.
      **encoding: of the pixels' places; see `grid_bytes`.

    Returns:
      Content [B, height * width, channels] and positions [height * width, C_position].
    """
    chex.assert_rank(images, 4)
    return grid_bytes(normalised(images, mean, std), **encoding)


def _spec(image_size: int, channels: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((image_size, image_size, channels), jnp.uint8)


IMAGE = Modality(image_bytes, ("image_size", "channels"), _spec)
