"""From the arrays of a data set to byte arrays: one function for each modality.

A new modality is a function that returns a `ByteArray`.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from perceiver.byte_array import ByteArray
from perceiver.names import unknown
from perceiver.positions import LearnedPositions, fourier_features, grid_fourier_features


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
    return grid_bytes(_normalised(images, mean, std), **encoding)


def video_bytes(
    video: jax.Array,
    *,
    patch: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    **encoding,
) -> ByteArray:
    """One input for each patch of a video, time first (Sec. 4.2).

    Args:
      video: [B, T, height, width, channels], as `image_bytes` takes images.
      patch: frames, rows and columns of a patch: (2, 8, 8) in the main text, (2, 4, 4) for the
        attention maps.
      mean: of each channel, taken off.
      std: of each channel, divided by.
      **encoding: of the patches' places; see `grid_bytes`.

    Returns:
      Content [B, M, frames * rows * columns * channels].

    Raises:
      ValueError: patches that do not tile the video.
    """
    chex.assert_rank(video, 5)
    batch, *shape, channels = video.shape
    fits = len(patch) == 3 and min(patch) > 0
    if not fits or any(size % part for size, part in zip(shape, patch, strict=True)):
        raise ValueError(
            f"patch is {tuple(patch)}, which does not tile a video of {tuple(shape)} (frames, "
            "rows, columns)"
        )
    (t, h, w), (dt, dh, dw) = [n // p for n, p in zip(shape, patch, strict=True)], patch
    video = _normalised(video, mean, std).reshape(batch, t, dt, h, dh, w, dw, channels)
    video = video.transpose(0, 1, 3, 5, 2, 4, 6, 7)  # [B, t, h, w, dt, dh, dw, channels]
    return grid_bytes(video.reshape(batch, t, h, w, -1), **encoding)


def audio_bytes(audio: jax.Array, *, patch: int, **encoding) -> ByteArray:
    """One input for each run of `patch` samples of raw sound (Sec. 4.2).

    Args:
      audio: [B, samples], int16, of which 32,768 counts as 1, or floats.
      patch: samples in an input: 128 in the main text, 1 for the attention maps.
      **encoding: of the runs' places in time; see `grid_bytes`.

    Returns:
      Content [B, samples / patch, patch].

    Raises:
      ValueError: runs that do not tile the sound.
    """
    chex.assert_rank(audio, 2)
    batch, samples = audio.shape
    if patch < 1 or samples % patch:
        raise ValueError(f"patch is {patch}, which does not divide {samples} samples of audio")
    scale = 1 / 32_768 if audio.dtype == jnp.int16 else 1.0
    return grid_bytes((audio.astype(jnp.float32) * scale).reshape(batch, -1, patch), **encoding)


def spectrogram_bytes(spectrogram: jax.Array, *, mean: float, std: float, **encoding) -> ByteArray:
    """One input for each cell of a log-mel spectrogram, time first (Sec. 4.2).

    Args:
      spectrogram: [B, T, mel bins], any float dtype.
      mean: taken off.
      std: divided by.
      **encoding: of the cells' places in time and frequency; see `grid_bytes`.

    Returns:
      Content [B, T * mel bins, 1].
    """
    chex.assert_rank(spectrogram, 3)
    return grid_bytes(_normalised(spectrogram[..., None], (mean,), (std,)), **encoding)


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
      ValueError: another value of `positions`.
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

    Raises:
      ValueError: a max_resolution of other than three values.
    """
    chex.assert_shape(points, (None, None, 3))
    if len(max_resolution) != 3:
        raise ValueError(f"max_resolution is {tuple(max_resolution)}; give one for each of x, y, z")
    encoding = fourier_features(points, bands=bands, max_resolution=max_resolution, spacing=spacing)
    return ByteArray(jnp.zeros([*points.shape[:2], 0]), encoding, mask)


def _normalised(values: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """(values - mean) / std in float32, by channel; of 8-bit values 255 counts as 1.

    Done on the device, so that batches travel there as bytes.
    """
    channels = values.shape[-1]
    if {len(mean), len(std)} != {channels} or min(std) <= 0:
        raise ValueError(
            f"mean {tuple(mean)} and std {tuple(std)} must have {channels} values, one a channel, "
            "and std must be positive"
        )
    unit = 255.0 if values.dtype == jnp.uint8 else 1.0
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    scale, shift = jnp.asarray(1 / (unit * std), jnp.float32), jnp.asarray(mean / std, jnp.float32)
    return values.astype(jnp.float32) * scale - shift
