"""Raw sound: one input for each run of samples, or for each sample (Sec. 4.2)."""

import chex
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.modalities.grid import grid_bytes
from perceiver.modalities.modality import Modality
from perceiver.positions import fourier_features

SAMPLES_PER_FRAME = 1920  # 48 kHz over 25 frames a second, as clips are prepared


def audio_bytes(
    audio: jax.Array,
    *,
    patch: int,
    amplitude_bands: int,
    amplitude_max_resolution: float,
    **encoding,
) -> ByteArray:
    """One input for each run of `patch` samples of raw sound (Sec. 4.2).

    Args:
      audio: [B, samples], int16, of which 32,768 counts as 1, or floats.
      patch: samples in an input: 128 in the main text, 1 for the attention maps.
      amplitude_bands: K of the Fourier features of each sample's amplitude, which the first version
        of the paper had beside those of time; 0 for the bare amplitude.
      amplitude_max_resolution: mu of these; amplitudes span [-1, 1].
      **encoding: of the runs' places in time; see `grid_bytes`.

    Returns:
      Content [B, samples / patch, patch], or [B, samples / patch, patch (2 K + 1)].

    Raises:
      InputError: runs that do not tile the sound.
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
    return grid_bytes(content.reshape(batch, samples // patch, -1), **encoding)


def _spec(clip_frames: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((clip_frames * SAMPLES_PER_FRAME,), jnp.int16)


AUDIO = Modality(audio_bytes, ("clip_frames",), _spec)
