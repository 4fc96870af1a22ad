"""Attention inputs: a byte array after its LayerNorm, projected or folded (Sec. 3.1, App. C).

A normalised input is n_m = (input - mean) / standard deviation. LayerNorm with scale g and offset b
and the key projection W_K, c_K give the keys k_m = (g * n_m + b) W_K + c_K; values have the same
form. Attention inputs have one of two forms:

projected: keys and values of all M inputs are written out.
folded: the projections are folded into queries and outputs. The logits of a query q are
  (g * W_K q) . n_m plus a term that is the same for all inputs and cancels in the softmax. So
  latents can attend to the n_m directly, and the value projection is applied to the attended n_m.
  The projections then take N vectors instead of M. The n_m depend on no weights and serve as keys
  and values of every cross-attend.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from perceiver.byte_array import ByteArray

# LayerNorm adds this to variances.
EPSILON = 1e-5

Tree = Any


def normalise_channels(x: jax.Array) -> jax.Array:
    """Subtracts the mean over the last axis and divides by the standard deviation, in float32."""
    x = x.astype(jnp.float32)
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + EPSILON)


class BlockedInputs(Protocol):
    """A pytree of normalised inputs n_m with C channels, for B examples, in blocks of m inputs.

    The products y . n_m with a query y are linear in y and computed in two steps: `project` runs
    once for all blocks, `dot` runs once per block. Projected queries are a pair: a tree that all
    blocks share, and a tree of arrays [blocks, ...] with one entry per block, of which `dot` gets
    its block's entry.
    """

    def blocks(self) -> Tree:
        """Returns the data of all blocks: arrays [blocks, B, m, ...]."""

    def mask(self) -> jax.Array | None:
        """Returns the validity of inputs, bool [blocks, B, m]; None if all are valid."""

    def map_blocks(self, function: Callable[[jax.Array], jax.Array]) -> "BlockedInputs":
        """Applies a function to every array that has an axis of blocks, which comes first."""

    def project(self, queries: jax.Array) -> tuple[Tree, Tree]:
        """Projects queries [B, Q, C] for `dot`: (shared by all blocks, one entry per block)."""

    def dot(self, block: Tree, projected: tuple[Tree, Tree]) -> jax.Array:
        """Returns the products y . n_m with the inputs of one block, float32 [B, m, Q]."""

    def transpose_dot(self, block: Tree, weights: jax.Array) -> tuple[Tree, Tree]:
        """Applies the transpose of `dot` to weights [B, m, Q]: a tree like projected queries."""

    def transpose_project(self, sums: tuple[Tree, Tree]) -> jax.Array:
        """Applies the transpose of `project`: sum_m weight_m n_m over blocks, float32 [B, Q, C]."""


class InputBlocks(NamedTuple):
    """Normalised inputs that are written out.

    Attributes:
      x: [blocks, B, m, C], in the type in which products are computed.
      valid: bool [blocks, B, m], or None.
    """

    x: jax.Array
    valid: jax.Array | None

    @classmethod
    def from_byte_array(
        cls, inputs: ByteArray, dtype: jnp.dtype, *, segment_size: int, block_size: int
    ) -> "InputBlocks":
        """Normalises the inputs of a byte array.

        They are normalised before they are rounded to `dtype`: bfloat16 cannot distinguish the 224
        coordinates along a side of an image.

        Args:
          inputs: M inputs of B examples.
          dtype: type of the normalised inputs.
          segment_size: a divisor of M. Every segment of this many inputs has its own blocks.
          block_size: number of inputs per block. The last block of a segment is padded with masked
            inputs.
        """
        x = normalise_channels(inputs.concatenate()).astype(dtype)
        batch, num_inputs, _ = x.shape
        blocks_per_segment = -(-segment_size // block_size)
        padding = blocks_per_segment * block_size - segment_size

        def split_into_blocks(x):
            x = x.reshape(batch, num_inputs // segment_size, segment_size, *x.shape[2:])
            x = jnp.pad(x, [(0, padding if axis == 2 else 0) for axis in range(x.ndim)])
            return jnp.moveaxis(x.reshape(batch, -1, block_size, *x.shape[3:]), 1, 0)

        mask = inputs.mask
        if padding and mask is None:
            mask = jnp.ones([batch, num_inputs], bool)
        return cls(split_into_blocks(x), None if mask is None else split_into_blocks(mask))

    def blocks(self) -> jax.Array:
        """See `BlockedInputs`."""
        return self.x

    def mask(self) -> jax.Array | None:
        """See `BlockedInputs`."""
        return self.valid

    def map_blocks(self, function: Callable[[jax.Array], jax.Array]) -> "InputBlocks":
        """See `BlockedInputs`."""
        return self._replace(**jax.tree.map(function, self._asdict()))

    def project(self, queries: jax.Array) -> tuple[jax.Array, None]:
        """See `BlockedInputs`."""
        return queries.astype(self.x.dtype).swapaxes(1, 2), None  # [B, C, Q]

    def dot(self, block: jax.Array, projected: tuple[jax.Array, None]) -> jax.Array:
        """See `BlockedInputs`."""
        return jnp.matmul(block, projected[0], preferred_element_type=jnp.float32)

    def transpose_dot(self, block: jax.Array, weights: jax.Array) -> tuple[jax.Array, None]:
        """See `BlockedInputs`."""
        weights = weights.astype(block.dtype)
        return jnp.einsum("bmc,bmq->bcq", block, weights, preferred_element_type=jnp.float32), None

    def transpose_project(self, sums: tuple[jax.Array, None]) -> jax.Array:
        """See `BlockedInputs`."""
        return sums[0].swapaxes(1, 2)


def dot_products(part: BlockedInputs, vectors: jax.Array) -> jax.Array:
    """Returns the products with all inputs, including padding, float32 [B, M, Q].

    Args:
      part: M normalised inputs.
      vectors: [B, Q, C], or [1, Q, C] for all examples.
    """
    shared, per_block = part.project(vectors)
    products = jax.vmap(lambda block, own: part.dot(block, (shared, own)))(part.blocks(), per_block)
    products = jnp.moveaxis(products, 0, 1)  # [B, blocks, m, Q]
    return products.reshape(len(products), -1, vectors.shape[1])


def select_segments(
    part: BlockedInputs, first: int | jax.Array, count: int, segments: int
) -> BlockedInputs:
    """Returns `count` of the equal segments of the inputs; each segment has its own blocks."""

    def select(x):
        size = len(x) // segments
        return jax.lax.dynamic_slice_in_dim(x, first * size, count * size)

    return part.map_blocks(select)


class Projection(NamedTuple):
    """Maps normalised inputs n to keys, n key + key_offset, and to values, n value + value_offset.

    Attributes:
      key: float32 [C, H, K], LayerNorm's scale times the key weights.
      key_offset: float32 [H, K].
      value: float32 [C, H, K], LayerNorm's scale times the value weights.
      value_offset: float32 [H, K].
    """

    key: jax.Array
    key_offset: jax.Array
    value: jax.Array
    value_offset: jax.Array


class ProjectedInputs(NamedTuple):
    """Keys and values, written out.

    Attributes:
      keys: [B, M, H, K].
      values: [B, M, H, K].
      mask: bool [B, M], true for valid inputs; None if all are valid.
    """

    keys: jax.Array
    values: jax.Array
    mask: jax.Array | None = None

    def segment(self, index: int | jax.Array, segments: int) -> "ProjectedInputs":
        """Returns one of several equal segments of the inputs."""
        size = self.keys.shape[1] // segments
        return jax.tree.map(
            lambda x: jax.lax.dynamic_slice_in_dim(x, index * size, size, axis=1), self
        )


class FoldedInputs(NamedTuple):
    """Normalised inputs and the projections that are folded into queries and outputs.

    Attributes:
      parts: the normalised inputs of each byte array.
      segment_sizes: number of inputs per segment of each part, without padding.
      projection: the projections to keys and values.
    """

    parts: tuple[BlockedInputs, ...]
    segment_sizes: tuple[int, ...]
    projection: Projection

    def segment(self, index: int | jax.Array, segments: int) -> "FoldedInputs":
        """Returns one of several equal segments of the inputs."""
        parts = tuple(select_segments(part, index, 1, segments) for part in self.parts)
        return self._replace(parts=parts)
