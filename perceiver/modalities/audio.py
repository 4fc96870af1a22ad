"""Raw sound: one input for each run of samples (Sec. 4.2)."""

import chex
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.modalities.grid import grid_bytes
from perceiver.modalities.modality import Modality
from perceiver.positions import Positions, fourier_features

SAMPLES_PER_FRAME = 1920  # prepared clips have 48 kHz and 25 frames per second


def audio_bytes(
    audio: jax.Array,
    *,
    patch: int,
    amplitude_bands: int,
    amplitude_max_resolution: float,
    positions: Positions,
) -> ByteArray:
    """Returns one input for each run of `patch` samples of raw sound (Sec. 4.2).

    Args:
      audio: samples [B, samples], int16, where 32,768 counts as 1, or floats.
      patch: number of samples per input: 128 in the main text, 1 for the attention maps.
      amplitude_bands: K, the number of frequencies of the amplitude's Fourier features, which the
        first version of the paper used in addition to those of time; 0 for the plain amplitude.
      amplitude_max_resolution: mu of the amplitude's features; amplitudes span [-1, 1].
      positions: encoding of a run's position in time.

    Returns:
      Content [B, samples / patch, patch], or [B, samples / patch, patch (2 K + 1)], and positions
      [samples / patch, C_position].

    Raises:
      InputError: patch does not divide the number of samples, or amplitude_bands is negative.
    """
    chex.assert_rank(audio, 2)
    batch, samples = audio.shape
    if patch < 1 or samples % patch:
        raise InputError(f"patch is {patch}, which does not divide {samples} samples of audio")
    if amplitude_bands < 0:
        raise InputError(f"amplitude_bands is {amplitude_bands}; give 0 or more")
    scale = 1 / 32_768 if audio.dtype == jnp.int16 else 1.0
    content = audio.astype(jnp.float32)[..., None] * scale  # [B, samples, 1]
    if amplitude_bands:
        content = fourier_features(
            content, bands=amplitude_bands, max_resolution=(amplitude_max_resolution,)
        )
    return grid_bytes(content.reshape(batch, samples // patch, -1), positions=positions)


def _spec(clip_frames: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((clip_frames * SAMPLES_PER_FRAME,), jnp.int16)


AUDIO = Modality(audio_bytes, ("clip_frames",), _spec)
