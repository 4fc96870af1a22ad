"""Fusion of modalities at the input: modality encodings and modality dropout (Sec. 4.2).

A fused input is a sequence of byte arrays, one per modality, with the same number of channels. They
stay separate until the key and value projections, because their positions and the number of their
content channels differ.
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
    """Appends a learned modality encoding to every input, inside a Haiku transform.

    The encoding is one vector per modality. It has `channels` channels for the modality with the
    most channels, and more for the other modalities, so that all inputs have the same number.

    Args:
      parts: the byte arrays by modality, [B, M_i, C_i].
      channels: number of channels of the smallest encoding; 4 in the paper.
      init_scale: standard deviation of the truncated normal initialiser of the encodings.

    Returns:
      The byte arrays in the given order, each with max_i C_i + channels channels.

    Raises:
      InputError: a number of channels or a scale that is not positive.
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
    """Appends a learned vector to all inputs of a modality."""

    def __init__(self, channels: int, init_scale: float, name: str):
        """Takes the size of the vector and the standard deviation of its initialiser."""
        super().__init__(name=name)
        self._channels = channels
        self._init = hk.initializers.TruncatedNormal(init_scale)

    def __call__(self, inputs: ByteArray) -> ByteArray:
        """Maps inputs of C channels to C + channels; the vector becomes part of the positions."""
        vector = hk.get_parameter("encoding", [self._channels], jnp.float32, init=self._init)
        if isinstance(inputs.positions, GridPositions):
            return inputs._replace(positions=inputs.positions.with_constant(vector))
        vector = jnp.broadcast_to(vector, (*inputs.positions.shape[:-1], self._channels))
        return inputs._replace(positions=jnp.concatenate([inputs.positions, vector], axis=-1))


def modality_dropout(inputs: ByteArray, rng: jax.Array, index: jax.Array, rate: float) -> ByteArray:
    """Zeroes the content of a modality in a random subset of examples, for training.

    This is the paper's video dropout. Positions that the batch shares stay, because they carry no
    information about an example. Positions per example, which are the data of a point cloud, are
    zeroed too.

    Args:
      inputs: the inputs of B examples.
      rng: random key of this step and modality.
      index: int [B], the index of each example. The key and the index decide whether the example is
        dropped.
      rate: probability of dropping, from 0 to below 1; 0.3 for video, 0.1 for the spectrogram.

    Raises:
      InputError: a rate out of range.
    """
    if not 0 <= rate < 1:
        raise InputError(f"dropout is {rate}; give at least 0 and below 1")
    keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, index)
    retained = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate))(keys)  # [B]
    retained = retained[:, None, None]
    positions = inputs.positions
    if len(positions.shape) == 3:
        positions = jnp.where(retained, positions, 0)
    return inputs._replace(content=jnp.where(retained, inputs.content, 0), positions=positions)
