"""Fusion of modalities at the input: encodings that tell them apart, and dropout (Sec. 4.2).

A fused input is a sequence of byte arrays of the same width, one a modality. They stay apart until
the keys and values, as their positions are not shared and their content has other widths.
"""

import math
from collections.abc import Mapping

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray, GridPositions
from perceiver.errors import InputError


def fused(
    parts: Mapping[str, ByteArray], *, channels: int, init_scale: float
) -> tuple[ByteArray, ...]:
    """Appends to every input a learned encoding of its modality that makes all equally wide.

    A modality's encoding is one vector, shared by its inputs. The widest modality's has `channels`
    channels; that of any other as many as bring it to the same width. It belongs in a Haiku
    transform.

    Args:
      parts: the byte arrays by modality, [B, M_i, C_i].
      channels: of the widest modality's encoding; 4 in the paper.
      init_scale: standard deviation of the encodings' truncated normal initialiser.

    Returns:
      The byte arrays in the order given, each with max_i C_i + channels channels.

    Raises:
      InputError: a width or a scale that is not positive.
    """
    if channels < 1 or not 0 < init_scale < math.inf:
        raise InputError(
            f"modality_channels is {channels} and modality_init_scale {init_scale}; "
            "both must be positive"
        )
    width = max(part.channels for part in parts.values()) + channels
    return tuple(
        ModalityEncoding(width - part.channels, init_scale, name=f"{name}_encoding")(part)
        for name, part in parts.items()
    )


class ModalityEncoding(hk.Module):
    """A learned vector that is appended to all inputs of a modality."""

    def __init__(self, channels: int, init_scale: float, name: str):
        """Takes the vector's size and its initialiser's standard deviation."""
        super().__init__(name=name)
        self._channels = channels
        self._init = hk.initializers.TruncatedNormal(init_scale)

    def __call__(self, inputs: ByteArray) -> ByteArray:
        """The inputs [B, M, C] with C + channels channels; the vector counts as position."""
        vector = hk.get_parameter("encoding", [self._channels], jnp.float32, init=self._init)
        if isinstance(inputs.positions, GridPositions):
            return inputs._replace(positions=inputs.positions.with_constant(vector))
        vector = jnp.broadcast_to(vector, (*inputs.positions.shape[:-1], self._channels))
        return inputs._replace(positions=jnp.concatenate([inputs.positions, vector], axis=-1))


def modality_dropout(inputs: ByteArray, rng: jax.Array, index: jax.Array, rate: float) -> ByteArray:
    """Zeroes a modality's whole content in a random part of the examples, for training.

    The paper's video dropout. Positions that a batch shares stay, as they say nothing of any one
    example; those of each example's own, which are all there is to a cloud, are zeroed too.

    Args:
      inputs: B examples.
      rng: key of this step and modality.
      index: int [B], the number of each example: whether it is dropped depends on these two alone.
      rate: probability of dropping, from 0 to below 1; 0.3 for video, 0.1 for the spectrogram.

    Raises:
      InputError: another rate.
    """
    if not 0 <= rate < 1:
        raise InputError(f"dropout is {rate}; give at least 0 and below 1")
    keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, index)
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate))(keys)  # [B]
    kept = kept[:, None, None]
    positions = inputs.positions
    if len(positions.shape) == 3:
        positions = jnp.where(kept, positions, 0)
    return inputs._replace(content=jnp.where(kept, inputs.content, 0), positions=positions)
