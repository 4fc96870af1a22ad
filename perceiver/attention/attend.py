"""What a cross-attend's latents attend to, in the way that costs least (Sec. 3.1).

Four ways give the same numbers, to rounding:

dense: keys and values of all inputs, and all logits at once: the paper as it is written.
blockwise: a block of inputs at a time, without keys and values
  (see `perceiver.attention.normalised_inputs`).
separable: as blockwise, and of inputs on a grid not even the position encodings are written out.
auto: dense where logits are few, else separable.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from perceiver.attention.blockwise import Rows, attend
from perceiver.attention.dense import attention, attention_logits
from perceiver.attention.normalised_inputs import GridBytes, grid_of, products, rows_of, shares_of
from perceiver.byte_array import ByteArray, GridPositions

WAYS = ("auto", "dense", "blockwise", "separable")

# Inputs in a block of those that are written out. On 2 CPU cores, with 512 queries of 261 channels,
# 512 to 3,584 were equally fast, and 256 and 7,168 slower by a tenth.
_BLOCK = 1024

# Up to so many logits, 4 MB of them, 'auto' is 'dense': they stay in a processor's cache.
_FEW_LOGITS = 2**20


class Projection(NamedTuple):
    """How normalised inputs n become keys and values: n key + key_offset, n value + value_offset.

    Attributes:
      key: float32 [C, H, K], LayerNorm's scale times the key weights.
      key_offset: float32 [H, K].
      value: float32 [C, H, K].
      value_offset: float32 [H, K].
    """

    key: jax.Array
    key_offset: jax.Array
    value: jax.Array
    value_offset: jax.Array


class Keys(NamedTuple):
    """Keys and values written out, each [B, M, H, K], and their mask [B, M] or None."""

    keys: jax.Array
    values: jax.Array
    mask: jax.Array | None

    def share(self, index: int | jax.Array, shares: int) -> "Keys":
        """One of several equal shares of the inputs."""
        size = self.keys.shape[1] // shares
        return jax.tree.map(
            lambda x: jax.lax.dynamic_slice_in_dim(x, index * size, size, axis=1), self
        )

    def attended(self, query: jax.Array) -> jax.Array:
        """Attended values [B, N, H, K] of queries [B, N, H, K]; zero without a valid input."""
        return attention(query, self.keys, self.values, self.mask)

    def logits(self, query: jax.Array) -> jax.Array:
        """Logits before mask and softmax, float32 [B, H, N, M]."""
        return attention_logits(query, self.keys)


class Folded(NamedTuple):
    """Normalised inputs, and the projections, which are folded into queries and outputs.

    Attributes:
      parts: the inputs.
      sizes: how many inputs a share of each part has, without padding.
      projection: to keys and values.
    """

    parts: tuple[Rows | GridBytes, ...]
    sizes: tuple[int, ...]
    projection: Projection

    def share(self, index: int | jax.Array, shares: int) -> "Folded":
        """One of several equal shares of the inputs, which are blocks of their own."""
        return self._replace(parts=tuple(shares_of(x, index, 1, shares) for x in self.parts))

    def attended(self, query: jax.Array) -> jax.Array:
        """Attended values [B, N, H, K] of queries [B, N, H, K]; zero without a valid input."""
        x = attend(self._folded(query), self.parts)  # [B, H N, C]
        batch, num_latents, heads, _ = query.shape
        x = x.reshape(batch, heads, num_latents, -1)
        values = jnp.einsum("bhnc,chk->bnhk", x, self.projection.value)
        values += self.projection.value_offset
        masks = [part.mask() for part in self.parts]
        if all(mask is not None for mask in masks):
            valid = jnp.stack([mask.any((0, 2)) for mask in masks]).any(0)  # [B]
            values *= valid[:, None, None, None]
        return values.astype(query.dtype)

    def logits(self, query: jax.Array) -> jax.Array:
        """Logits of one share before mask and softmax, float32 [B, H, N, M]."""
        batch, num_latents, heads, _ = query.shape
        folded = self._folded(query)
        logits = [  # [B, M_i, H N]
            products(part, folded)[:, :size]
            for part, size in zip(self.parts, self.sizes, strict=True)
        ]
        logits = jnp.concatenate(logits, axis=1)
        logits = logits.swapaxes(1, 2).reshape(batch, heads, num_latents, -1)
        constant = jnp.einsum("bnhk,hk->bhn", _scaled(query), self.projection.key_offset)
        return logits + constant[..., None]

    def _folded(self, query):
        """Queries of the normalised inputs themselves, float32 [B, H N, C]."""
        folded = jnp.einsum("bnhk,chk->bhnc", _scaled(query), self.projection.key)
        return folded.reshape(len(folded), -1, folded.shape[-1])


def _scaled(query):
    return query.astype(jnp.float32) * query.shape[-1] ** -0.5


def normalised(
    parts: Sequence[ByteArray], way: str, *, dtype: jnp.dtype, shares: int, logits: int
) -> tuple[str, tuple[Rows | GridBytes, ...]]:
    """The inputs after their LayerNorm, less its scale and offset, as a way needs them.

    Args:
      parts: the inputs of a batch, M in all.
      way: one of `WAYS`.
      dtype: in which those that are written out are kept.
      shares: equal shares of the inputs, which are attended to one by one.
      logits: B H N M of one cross-attend, by which 'auto' decides.

    Returns:
      The way taken, and the parts.
    """
    if way == "auto":
        way = "dense" if logits <= _FEW_LOGITS else "separable"

    def of_part(part):
        share = part.num_inputs // shares
        if way != "blockwise" and isinstance(part.positions, GridPositions):
            columns = len(part.positions.columns)
            if share % columns == 0 and part.num_inputs > columns:
                return grid_of(part)
        block = share if way == "dense" or share <= 2 * _BLOCK else _even_block(share)
        return rows_of(part, dtype, share=share, block=block)

    return way, tuple(of_part(part) for part in parts)


def _even_block(inputs: int) -> int:
    """The size of blocks: an even division of the inputs if one is near `_BLOCK`."""
    even = [size for size in range(_BLOCK // 2, 2 * _BLOCK + 1) if inputs % size == 0]
    return min(even, key=lambda size: abs(size - _BLOCK)) if even else _BLOCK


def seen(
    parts: tuple[Rows | GridBytes, ...],
    way: str,
    projection: Projection,
    *,
    sizes: tuple[int, ...],
    dtype: jnp.dtype,
) -> Keys | Folded:
    """What latents attend to.

    Args:
      parts: the inputs, as `normalised` has made them.
      way: the way that it has taken.
      projection: of the cross-attend.
      sizes: how many inputs a share of each part has.
      dtype: of keys and values, where these are written out.
    """
    if way != "dense":
        return Folded(parts, sizes, projection)
    heads = projection.key_offset.shape

    def projected(weights, offset):
        weights = weights.reshape(len(weights), -1)
        y = jnp.concatenate([products(part, weights.T[None]) for part in parts], axis=1)
        return (y.reshape(*y.shape[:2], *heads) + offset).astype(dtype)

    keys = projected(projection.key, projection.key_offset)
    values = projected(projection.value, projection.value_offset)
    return Keys(keys, values, _mask(parts))


def _mask(parts):
    """Of all parts after one another, bool [B, M], or None without any."""
    if all(part.mask() is None for part in parts):
        return None
    masks = []
    for part in parts:
        count, batch, size = jax.tree.leaves(part.blocks())[0].shape[:3]
        mask = jnp.ones([count, batch, size], bool) if part.mask() is None else part.mask()
        masks.append(jnp.moveaxis(mask, 0, 1).reshape(batch, -1))
    return jnp.concatenate(masks, axis=1)
