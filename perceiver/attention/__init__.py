"""Attention: one entry point, `attend`, with dense, blockwise and grid implementations (Sec. 3.1).

Latents attend to the byte array, and vectors attend to each other, through `attend`. The attention
inputs decide the implementation: `ProjectedInputs` are attended to with all logits at once,
`FoldedInputs` block by block. `prepare_inputs` makes the choice for a network's cross-attends. All
implementations agree to rounding:

dense: computes the keys and values of all inputs, and all logits at once, as the paper describes.
blockwise: attends to one block of inputs at a time, without keys and values
  (see `perceiver.attention.inputs`).
separable: works like blockwise, but does not write out the position encodings of inputs on a grid
  (see `perceiver.attention.grid`).
auto: takes dense for few logits, else separable.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from perceiver.attention.blockwise import folded_attention, folded_logits
from perceiver.attention.dense import dense_attention, dense_logits
from perceiver.attention.grid import GridInputs
from perceiver.attention.inputs import (
    BlockedInputs,
    FoldedInputs,
    InputBlocks,
    ProjectedInputs,
    Projection,
    dot_products,
    select_segments,
)
from perceiver.byte_array import ByteArray, GridPositions

# The values of `config.model.attention`.
IMPLEMENTATIONS = ("auto", "dense", "blockwise", "separable")

AttentionInputs = ProjectedInputs | FoldedInputs

# Inputs per block of `InputBlocks`. On 2 CPU cores, with 512 queries of 261 channels, blocks of 512
# to 3,584 inputs were equally fast; blocks of 256 and 7,168 were a tenth slower.
_BLOCK_SIZE = 1024

# 'auto' takes 'dense' up to this number of logits: 4 MB, which stay in a processor's cache.
_FEW_LOGITS = 2**20


def attend(queries: jax.Array, inputs: AttentionInputs) -> jax.Array:
    """Attends from N queries to M inputs: softmax(Q K^T / sqrt(K)) V for each head.

    Args:
      queries: [B, N, H, K].
      inputs: the attention inputs, as keys and values or as folded inputs.

    Returns:
      The attended values [B, N, H, K], in the type of `queries`. They are zero for an example
      without valid inputs.
    """
    if isinstance(inputs, ProjectedInputs):
        return dense_attention(queries, inputs.keys, inputs.values, inputs.mask)
    return folded_attention(queries, inputs)


def attention_logits(queries: jax.Array, inputs: AttentionInputs) -> jax.Array:
    """Returns the logits before mask and softmax, Q K^T / sqrt(K), which the paper's maps show.

    Args:
      queries: [B, N, H, K].
      inputs: the attention inputs.

    Returns:
      float32 [B, H, N, M].
    """
    if isinstance(inputs, ProjectedInputs):
        return dense_logits(queries, inputs.keys)
    return folded_logits(queries, inputs)


@dataclasses.dataclass(frozen=True)
class PreparedInputs:
    """The normalised inputs of a batch, which all cross-attends of a network use.

    Attributes:
      implementation: the chosen implementation; never 'auto'.
      parts: the normalised inputs of each byte array.
      segments: number of equal segments that the inputs are split into.
      segment_sizes: number of inputs per segment, without padding, for each byte array.
      dtype: type of keys and values.
    """

    implementation: str
    parts: tuple[BlockedInputs, ...]
    segments: int
    segment_sizes: tuple[int, ...]
    dtype: jnp.dtype

    def project(self, projection: Projection, first: int, count: int) -> AttentionInputs:
        """Returns the attention inputs of a cross-attend.

        Args:
          projection: the projections of the cross-attend.
          first: index of the first segment that the cross-attend attends to.
          count: number of segments that it attends to.
        """
        parts = tuple(select_segments(part, first, count, self.segments) for part in self.parts)
        if self.implementation != "dense":
            return FoldedInputs(parts, self.segment_sizes, projection)
        heads = projection.key_offset.shape

        def apply(weights, offset):
            weights = weights.reshape(len(weights), -1)
            y = jnp.concatenate([dot_products(part, weights.T[None]) for part in parts], axis=1)
            return (y.reshape(*y.shape[:2], *heads) + offset).astype(self.dtype)

        keys = apply(projection.key, projection.key_offset)
        values = apply(projection.value, projection.value_offset)
        return ProjectedInputs(keys, values, _concatenated_mask(parts))


def prepare_inputs(
    parts: Sequence[ByteArray],
    implementation: str,
    *,
    dtype: jnp.dtype,
    segments: int,
    num_queries: int,
) -> PreparedInputs:
    """Chooses the implementation and normalises the inputs for it, without LayerNorm's parameters.

    Args:
      parts: the byte arrays of a batch, M inputs in total.
      implementation: one of `IMPLEMENTATIONS`.
      dtype: type of the inputs that are written out, and of keys and values.
      segments: number of equal segments of the inputs; a cross-attend attends to one at a time.
      num_queries: H N, the number of queries per example. 'auto' decides by the number of logits.
    """
    segment_sizes = tuple(part.num_inputs // segments for part in parts)
    if implementation == "auto":
        inputs_attended_to = sum(part.num_inputs for part in parts) // segments
        num_logits = len(parts[0].content) * num_queries * inputs_attended_to
        implementation = "dense" if num_logits <= _FEW_LOGITS else "separable"

    def normalise(part, segment_size):
        if implementation != "blockwise" and isinstance(part.positions, GridPositions):
            columns = len(part.positions.columns)
            if segment_size % columns == 0 and part.num_inputs > columns:
                return GridInputs.from_byte_array(part)
        whole = implementation == "dense" or segment_size <= 2 * _BLOCK_SIZE
        block_size = segment_size if whole else _even_block_size(segment_size)
        return InputBlocks.from_byte_array(
            part, dtype, segment_size=segment_size, block_size=block_size
        )

    normalised_parts = tuple(map(normalise, parts, segment_sizes))
    return PreparedInputs(implementation, normalised_parts, segments, segment_sizes, dtype)


def _even_block_size(num_inputs: int) -> int:
    """Returns the divisor of the number of inputs nearest to `_BLOCK_SIZE`, if one is near it."""
    even = [size for size in range(_BLOCK_SIZE // 2, 2 * _BLOCK_SIZE + 1) if num_inputs % size == 0]
    return min(even, key=lambda size: abs(size - _BLOCK_SIZE)) if even else _BLOCK_SIZE


def _concatenated_mask(parts: Sequence[BlockedInputs]) -> jax.Array | None:
    """Returns the mask of all parts in sequence, bool [B, M], or None if no part has a mask."""
    if all(part.mask() is None for part in parts):
        return None
    masks = []
    for part in parts:
        count, batch, size = jax.tree.leaves(part.blocks())[0].shape[:3]
        mask = part.mask()
        if mask is None:
            mask = jnp.ones([count, batch, size], bool)
        masks.append(jnp.moveaxis(mask, 0, 1).reshape(batch, -1))
    return jnp.concatenate(masks, axis=1)
