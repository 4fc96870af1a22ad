"""The byte array after its LayerNorm, as something to attend to (Sec. 3.1, App. C).

A cross-attend's keys are k_m = (g * n_m + b) W_K + c_K, with n_m the input less its mean over
standard deviation, and its values are like them. So a query's logits are, but for a term that is
the same for all inputs and leaves the softmax as it is, (g * W_K q) . n_m: the latents can attend
to the n_m themselves, and values are made of the attended n_m afterwards. The projections then
take N vectors instead of M, and the n_m, which depend on no weights, serve as keys and as values
of every cross-attend.

On a grid they need not be written out either. With P_rc = rows_r + columns_c,

  y . n_rc = (y . [content_rc, P_rc] - mean_rc sum(y)) / std_rc
           = (y_content . content_rc + y . rows_r + y . columns_c - mean_rc sum(y)) / std_rc,

a few operations for each input and query, whatever the number of position channels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from perceiver.attention.blockwise import Rows
from perceiver.byte_array import ByteArray

# Added to variances, as everywhere in this network.
EPSILON = 1e-5


class GridBytes(NamedTuple):
    """Normalised inputs on a grid, a row a block.

    Attributes:
      content: float32 [R, B, W, C_content + 1]: the content, and less the mean of an input.
      scale: float32 [R, B, W]: one over an input's standard deviation.
      rows: float32 [R, C_position], of `GridPositions`.
      columns: float32 [W, C_position], of `GridPositions`.
      valid: bool [R, B, W], or None.
    """

    content: jax.Array
    scale: jax.Array
    rows: jax.Array
    columns: jax.Array
    valid: jax.Array | None

    def blocks(self) -> tuple[jax.Array, jax.Array]:
        """See `perceiver.attention.blockwise.Attended`."""
        return self.content, self.scale

    def mask(self) -> jax.Array | None:
        """See `perceiver.attention.blockwise.Attended`."""
        return self.valid

    def project(self, queries: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        """See `perceiver.attention.blockwise.Attended`."""
        of_content, of_positions = self._split(queries)
        of_content = jnp.concatenate([of_content, queries.sum(-1, keepdims=True)], -1)
        columns = _exact("wc,bqc->bwq", self.columns, of_positions)
        rows = _exact("rc,bqc->rbq", self.rows, of_positions)
        return (of_content.swapaxes(1, 2), columns), rows

    def dot(self, block, projected):
        """See `perceiver.attention.blockwise.Attended`."""
        content, scale = block
        (of_content, columns), row = projected
        y = _exact("bwc,bcq->bwq", content, of_content) + columns + row[:, None]
        return y * scale[..., None]

    def gather(self, block, weights):
        """See `perceiver.attention.blockwise.Attended`."""
        content, scale = block
        weights = weights * scale[..., None]
        of_content = _exact("bwc,bwq->bcq", content, weights)
        return (of_content, weights), weights.sum(1)

    def total(self, sums):
        """See `perceiver.attention.blockwise.Attended`."""
        (of_content, columns), rows = sums
        of_content = of_content.swapaxes(1, 2)  # [B, Q, C_content + 1]
        of_positions = _exact("wc,bwq->bqc", self.columns, columns)
        of_positions += _exact("rc,rbq->bqc", self.rows, rows)
        x = jnp.concatenate([of_content[..., :-1], of_positions], -1)
        return x + of_content[..., -1:]

    def _split(self, x):
        split = self.content.shape[-1] - 1
        return x[..., :split], x[..., split:]


def _exact(equation, x, y):
    """A product in float32 on accelerators as well: these are small, and differences of pixels."""
    return jnp.einsum(equation, x, y, precision=jax.lax.Precision.HIGHEST)


def normal_rows(inputs: jax.Array) -> jax.Array:
    """Inputs [..., C] less their mean, over their standard deviation, float32."""
    inputs = inputs.astype(jnp.float32)
    centred = inputs - inputs.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + EPSILON)


def rows_of(inputs: ByteArray, dtype: jnp.dtype, *, share: int, block: int) -> Rows:
    """Inputs of any kind, normalised and written out.

    They are normalised before they are rounded to `dtype`: bfloat16 could not tell the 224
    coordinates of a side apart.

    Args:
      inputs: M inputs.
      dtype: in which they are kept.
      share: a divisor of M; every share of so many inputs is blocks of its own.
      block: inputs in a block. The last one of a share is padded with masked ones.
    """
    x = normal_rows(inputs.concatenate()).astype(dtype)
    batch, num_inputs, _ = x.shape
    count = -(-share // block)
    padding = count * block - share

    def in_blocks(x):
        x = x.reshape(batch, num_inputs // share, share, *x.shape[2:])
        x = jnp.pad(x, [(0, padding if axis == 2 else 0) for axis in range(x.ndim)])
        return jnp.moveaxis(x.reshape(batch, -1, block, *x.shape[3:]), 1, 0)

    mask = inputs.mask
    if padding and mask is None:
        mask = jnp.ones([batch, num_inputs], bool)
    return Rows(in_blocks(x), None if mask is None else in_blocks(mask))


def grid_of(inputs: ByteArray) -> GridBytes:
    """Inputs with `GridPositions`, normalised, their positions not written out.

    Mean and variance come from those of content, rows and columns; squares of deviations are
    summed, never squares less a squared mean, which rounding would spoil.
    """
    rows, columns = inputs.positions
    batch, _, channels = inputs.content.shape
    of_positions = rows.shape[-1]
    total = channels + of_positions

    content = inputs.content.astype(jnp.float32)
    valid = inputs.mask
    if valid is not None:
        content = jnp.where(valid[..., None], content, 0)
        valid = jnp.moveaxis(valid.reshape(batch, len(rows), len(columns)), 1, 0)
    content = jnp.moveaxis(content.reshape(batch, len(rows), len(columns), channels), 1, 0)

    mean_content = content.sum(-1) / max(channels, 1)  # [R, B, W]
    spread_content = jnp.square(content - mean_content[..., None]).sum(-1)
    mean_row, mean_column = (x.sum(-1) / max(of_positions, 1) for x in (rows, columns))
    # Deviations of a row and a column are multiplied, too: as no channel is both's, that gives
    # less the product of their means.
    spread_positions = (
        jnp.square(rows - mean_row[:, None]).sum(-1)[:, None]
        + jnp.square(columns - mean_column[:, None]).sum(-1)
        - 2 * of_positions * mean_row[:, None] * mean_column
    )
    mean_positions = (mean_row[:, None] + mean_column)[:, None]  # [R, 1, W]
    mean = (channels * mean_content + of_positions * mean_positions) / total
    spread = (
        spread_content
        + spread_positions[:, None]
        + channels * of_positions / total * jnp.square(mean_content - mean_positions)
    )
    scale = jax.lax.rsqrt(spread / total + EPSILON)
    return GridBytes(jnp.concatenate([content, -mean[..., None]], -1), scale, rows, columns, valid)


def products(part: Rows | GridBytes, y: jax.Array) -> jax.Array:
    """Products y . n_m with all inputs of a part, those of padding too, float32 [B, M, Q].

    On a grid the positions' share of them is that of a row plus that of a column.

    Args:
      part: M normalised inputs.
      y: [B, Q, C], or [1, Q, C] for all examples.
    """
    shared, own = part.project(y)
    by_block = jax.vmap(lambda block, own: part.dot(block, (shared, own)))(part.blocks(), own)
    by_block = jnp.moveaxis(by_block, 0, 1)  # [B, blocks, m, Q]
    return by_block.reshape(len(by_block), -1, y.shape[1])


def shares_of(
    part: Rows | GridBytes, first: int | jax.Array, count: int, shares: int
) -> Rows | GridBytes:
    """Some of the equal shares of a part's inputs, each of which is blocks of its own."""
    by_block = {name: x for name, x in part._asdict().items() if name != "columns"}

    def cut(x):
        size = len(x) // shares
        return jax.lax.dynamic_slice_in_dim(x, first * size, count * size)

    return part._replace(**jax.tree.map(cut, by_block))
