"""Video: one input for each patch of frames, rows and columns (Sec. 4.2)."""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.modalities.grid import grid_bytes, standardise
from perceiver.modalities.modality import Modality
from perceiver.positions import Positions


def video_bytes(
    video: jax.Array,
    *,
    patch: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    positions: Positions,
) -> ByteArray:
    """Returns one input for each patch of a video, time first (Sec. 4.2).

    Args:
      video: frames [B, T, height, width, channels], uint8, where 255 counts as 1, or floats.
      patch: numbers of frames, rows and columns per patch: (2, 8, 8) in the main text, (2, 4, 4)
        for the attention maps.
      mean: mean of each channel, which is subtracted.
      std: standard deviation of each channel, which pixels are divided by.
      positions: encoding of a patch's time, row and column.

    Returns:
      Content [B, M, frames * rows * columns * channels] and positions [M, C_position].

    Raises:
      InputError: patches that do not tile the video.
    """
    chex.assert_rank(video, 5)
    batch, *shape, channels = video.shape
    fits = len(patch) == 3 and min(patch) > 0
    if not fits or any(size % part for size, part in zip(shape, patch, strict=True)):
        raise InputError(
            f"patch is {tuple(patch)}, which does not tile a video of {tuple(shape)} (frames, "
            "rows, columns)"
        )
    (t, h, w), (dt, dh, dw) = [n // p for n, p in zip(shape, patch, strict=True)], patch
    video = standardise(video, mean, std).reshape(batch, t, dt, h, dh, w, dw, channels)
    video = video.transpose(0, 1, 3, 5, 2, 4, 6, 7)  # [B, t, h, w, dt, dh, dw, channels]
    return grid_bytes(video.reshape(batch, t, h, w, -1), positions=positions)


def _spec(clip_frames: int, image_size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((clip_frames, image_size, image_size, 3), jnp.uint8)


VIDEO = Modality(video_bytes, ("clip_frames", "image_size"), _spec)
