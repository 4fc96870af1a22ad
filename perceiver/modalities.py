"""From the arrays of a data set to byte arrays: one function for each modality.

A new modality is a function that returns a `ByteArray`.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.names import unknown
from perceiver.positions import LearnedPositions, fourier_features, grid_fourier_features


def image_bytes(
    images: jax.Array,
    *,
    positions: str,
    bands: int,
    max_resolution: Sequence[float],
    spacing: str,
    learned_channels: int,
    learned_init_scale: float,
) -> ByteArray:
    """One input for each pixel, in row-major order (Sec. 4.1).

    Args:
      images: [B, height, width, channels].
      positions: 'fourier' features of the pixel's place in the image, 'learned', or 'none'.
      bands: K of the Fourier features.
      max_resolution: mu for height and width; empty for the image's own size.
      spacing: of the bands, 'linear' or 'log'.
      learned_channels: channels of learned positions.
      learned_init_scale: standard deviation of their initialiser.

    Returns:
      Content [B, height * width, channels] and positions [height * width, C_position].

    Raises:
      ValueError: another value of `positions`.
    """
    chex.assert_rank(images, 4)
    batch, height, width, channels = images.shape
    content = images.reshape(batch, height * width, channels)  # [B, M, C_content]
    if positions == "fourier":
        encoding = grid_fourier_features(
            (height, width),
            bands=bands,
            max_resolution=tuple(max_resolution) or (height, width),
            spacing=spacing,
        )
    elif positions == "learned":
        encoding = LearnedPositions(learned_channels, learned_init_scale)(height * width)
    elif positions == "none":
        encoding = jnp.zeros([height * width, 0])
    else:
        raise ValueError(unknown(positions, ("fourier", "learned", "none"), what="positions"))
    return ByteArray(content, encoding)


def point_bytes(
    points: jax.Array,
    mask: jax.Array | None = None,
    *,
    bands: int,
    max_resolution: Sequence[float],
    spacing: str,
) -> ByteArray:
    """One input for each point of a cloud; a point's place is all there is to it (Sec. 4.3).

    Args:
      points: [B, M, 3] within the cube [-1, 1].
      mask: bool [B, M] where clouds have different numbers of points.
      bands: K of the Fourier features.
      max_resolution: mu of the three dimensions.
      spacing: of the bands, 'linear' or 'log'.

    Returns:
      Content [B, M, 0] and positions [B, M, 3 (2 K + 1)].
    """
    chex.assert_shape(points, (None, None, 3))
    encoding = fourier_features(points, bands=bands, max_resolution=max_resolution, spacing=spacing)
    return ByteArray(jnp.zeros([*points.shape[:2], 0]), encoding, mask)
