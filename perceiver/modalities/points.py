"""Point clouds: one input for each point, with positions and no content (Sec. 4.3)."""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.modalities.modality import Modality
from perceiver.positions import fourier_features


def point_bytes(
    points: jax.Array,
    mask: jax.Array | None = None,
    *,
    bands: int,
    max_resolution: Sequence[float],
    spacing: str,
) -> ByteArray:
    """Returns one input for each point of a cloud, with positions and no content (Sec. 4.3).

    Args:
      points: coordinates [B, M, 3] within the cube [-1, 1].
      mask: valid points, bool [B, M], for clouds with different numbers of points.
      bands: K, the number of frequencies per dimension of the Fourier features.
      max_resolution: mu for each of the three dimensions.
      spacing: spacing of the frequencies, 'linear' or 'log'.

    Returns:
      Content [B, M, 0] and positions [B, M, 3 (2 K + 1)].

    Raises:
      InputError: max_resolution does not have three values.
    """
    chex.assert_shape(points, (None, None, 3))
    if len(max_resolution) != 3:
        raise InputError(f"max_resolution is {tuple(max_resolution)}; give one for each of x, y, z")
    encoding = fourier_features(points, bands=bands, max_resolution=max_resolution, spacing=spacing)
    return ByteArray(jnp.zeros([*points.shape[:2], 0]), encoding, mask)


def _spec(num_points: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((num_points, 3), jnp.float32)


POINTS = Modality(point_bytes, ("num_points",), _spec)
