"""Log-mel spectrograms: one input for each cell (Sec. 4.2)."""

import chex
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.modalities.audio import SAMPLES_PER_FRAME
from perceiver.modalities.grid import grid_bytes, standardise
from perceiver.modalities.modality import Modality
from perceiver.positions import Positions


def spectrogram_bytes(
    spectrogram: jax.Array, *, mean: float, std: float, positions: Positions
) -> ByteArray:
    """Returns one input for each cell of a log-mel spectrogram, time first (Sec. 4.2).

    Args:
      spectrogram: log-mel values [B, T, mel bins], any float dtype.
      mean: mean of all cells, which is subtracted.
      std: standard deviation of all cells, which they are divided by.
      positions: encoding of a cell's time and frequency.

    Returns:
      Content [B, T * mel bins, 1] and positions [T * mel bins, C_position].
    """
    chex.assert_rank(spectrogram, 3)
    content = standardise(spectrogram[..., None], (mean,), (std,))
    return grid_bytes(content, positions=positions)


def _spec(clip_frames: int, mel_hop: int, mel_bins: int) -> jax.ShapeDtypeStruct:
    frames = -(-clip_frames * SAMPLES_PER_FRAME // mel_hop)  # the end is padded
    return jax.ShapeDtypeStruct((frames, mel_bins), jnp.float16)


SPECTROGRAM = Modality(spectrogram_bytes, ("clip_frames", "mel_hop", "mel_bins"), _spec)
