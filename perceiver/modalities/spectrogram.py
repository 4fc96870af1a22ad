"""Log-mel spectrograms: one input for each cell (Sec. 4.2)."""

import chex
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.modalities.audio import SAMPLES_PER_FRAME
from perceiver.modalities.grid import grid_bytes
from perceiver.modalities.modality import Modality
from perceiver.modalities.normalisation import normalised


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
    return grid_bytes(normalised(spectrogram[..., None], (mean,), (std,)), **encoding)


def _spec(clip_frames: int, mel_hop: int, mel_bins: int) -> jax.ShapeDtypeStruct:
    frames = -(-clip_frames * SAMPLES_PER_FRAME // mel_hop)  # the end is padded
    return jax.ShapeDtypeStruct((frames, mel_bins), jnp.float16)


SPECTROGRAM = Modality(spectrogram_bytes, ("clip_frames", "mel_hop", "mel_bins"), _spec)
