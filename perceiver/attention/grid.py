"""Normalised inputs on a grid whose position encodings are never written out.

With the position encoding rows_r + columns_c of the input in row r and column c, its product with a
query y is

  y . n_rc = (y . [content_rc, rows_r + columns_c] - mean_rc sum(y)) / std_rc
           = (y_content . content_rc + y . rows_r + y . columns_c - mean_rc sum(y)) / std_rc.

This takes a few operations per input and query, whatever the number of position channels.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from perceiver.attention.inputs import EPSILON
from perceiver.byte_array import ByteArray


class GridInputs(NamedTuple):
    """Normalised inputs on a grid; each row is a block (see `BlockedInputs`).

    Attributes:
      content: float32 [R, B, W, C_content + 1]: the content, and the negative mean of each input.
      scale: float32 [R, B, W]: the inverse standard deviation of each input.
      rows: float32 [R, C_position], from `GridPositions`.
      columns: float32 [W, C_position], from `GridPositions`.
      valid: bool [R, B, W], or None.
    """

    content: jax.Array
    scale: jax.Array
    rows: jax.Array
    columns: jax.Array
    valid: jax.Array | None

    @classmethod
    def from_byte_array(cls, inputs: ByteArray) -> "GridInputs":
        """Normalises inputs with `GridPositions`.

        Mean and variance are computed from those of content, rows and columns. The variance is a
        sum of squared deviations: a mean of squares minus a squared mean would lose precision.
        """
        rows, columns = inputs.positions
        batch, _, channels = inputs.content.shape
        position_channels = rows.shape[-1]
        total_channels = channels + position_channels

        content = inputs.content.astype(jnp.float32)
        valid = inputs.mask
        if valid is not None:
            content = jnp.where(valid[..., None], content, 0)
            valid = jnp.moveaxis(valid.reshape(batch, len(rows), len(columns)), 1, 0)
        content = content.reshape(batch, len(rows), len(columns), channels)
        content = jnp.moveaxis(content, 1, 0)

        content_mean = content.sum(-1) / max(channels, 1)  # [R, B, W]
        content_spread = jnp.square(content - content_mean[..., None]).sum(-1)
        row_mean, column_mean = (x.sum(-1) / max(position_channels, 1) for x in (rows, columns))
        # The cross term of the deviations of row and column: no channel depends on both, so their
        # products sum to the negative product of the means, per channel.
        position_spread = (
            jnp.square(rows - row_mean[:, None]).sum(-1)[:, None]
            + jnp.square(columns - column_mean[:, None]).sum(-1)
            - 2 * position_channels * row_mean[:, None] * column_mean
        )
        position_mean = (row_mean[:, None] + column_mean)[:, None]  # [R, 1, W]
        mean = (channels * content_mean + position_channels * position_mean) / total_channels
        spread = (
            content_spread
            + position_spread[:, None]
            + channels
            * position_channels
            / total_channels
            * jnp.square(content_mean - position_mean)
        )
        scale = jax.lax.rsqrt(spread / total_channels + EPSILON)
        return cls(jnp.concatenate([content, -mean[..., None]], -1), scale, rows, columns, valid)

    def blocks(self) -> tuple[jax.Array, jax.Array]:
        """See `BlockedInputs`."""
        return self.content, self.scale

    def mask(self) -> jax.Array | None:
        """See `BlockedInputs`."""
        return self.valid

    def map_blocks(self, function: Callable[[jax.Array], jax.Array]) -> "GridInputs":
        """See `BlockedInputs`; all blocks share the columns."""
        by_block = {name: x for name, x in self._asdict().items() if name != "columns"}
        return self._replace(**jax.tree.map(function, by_block))

    def project(self, queries: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        """See `BlockedInputs`."""
        split = self.content.shape[-1] - 1
        for_content, for_positions = queries[..., :split], queries[..., split:]
        for_content = jnp.concatenate([for_content, queries.sum(-1, keepdims=True)], -1)
        columns = _exact("wc,bqc->bwq", self.columns, for_positions)
        rows = _exact("rc,bqc->rbq", self.rows, for_positions)
        return (for_content.swapaxes(1, 2), columns), rows

    def dot(self, block, projected):
        """See `BlockedInputs`."""
        content, scale = block
        (for_content, columns), row = projected
        y = _exact("bwc,bcq->bwq", content, for_content) + columns + row[:, None]
        return y * scale[..., None]

    def transpose_dot(self, block, weights):
        """See `BlockedInputs`."""
        content, scale = block
        weights = weights * scale[..., None]
        content_sum = _exact("bwc,bwq->bcq", content, weights)
        return (content_sum, weights), weights.sum(1)

    def transpose_project(self, sums):
        """See `BlockedInputs`."""
        (content_sum, column_sums), row_sums = sums
        content_sum = content_sum.swapaxes(1, 2)  # [B, Q, C_content + 1]
        position_sum = _exact("wc,bwq->bqc", self.columns, column_sums)
        position_sum += _exact("rc,rbq->bqc", self.rows, row_sums)
        x = jnp.concatenate([content_sum[..., :-1], position_sum], -1)
        return x + content_sum[..., -1:]


def _exact(equation, x, y):
    """Computes a product in full float32 on any device, because nearby pixels differ little."""
    return jnp.einsum(equation, x, y, precision=jax.lax.Precision.HIGHEST)
