"""The byte array: what a Perceiver attends to, content and position encoding kept apart.

Concatenation is what the paper defines (Sec. 3.2) and what the parameters look like. Keeping the
two apart until the key and value projections lets positions be shared by a whole batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from perceiver.errors import InputError


class GridPositions(NamedTuple):
    """Position encodings of a grid's points: a vector of the row plus one of the column.

    Every channel depends on one of the two alone, and is 0 in the other. A grid of more dimensions
    has several of them merged into its rows, or into its columns.

    Attributes:
      rows: [R, C_position].
      columns: [W, C_position].
    """

    rows: jax.Array
    columns: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        """M = R W and C_position, the shape of `array()`."""
        return len(self.rows) * len(self.columns), self.rows.shape[-1]

    def array(self) -> jax.Array:
        """The encodings written out, [M, C_position], in row-major order."""
        return (self.rows[:, None] + self.columns).reshape(self.shape)

    def with_constant(self, vector: jax.Array) -> "GridPositions":
        """Every point's encoding followed by the same vector [C]."""
        rows = jnp.broadcast_to(vector, (len(self.rows), len(vector)))
        columns = jnp.zeros([len(self.columns), len(vector)], vector.dtype)
        return GridPositions(
            jnp.concatenate([self.rows, rows], axis=-1),
            jnp.concatenate([self.columns, columns], axis=-1),
        )


class ByteArray(NamedTuple):
    """Inputs of a batch.

    Attributes:
      content: [B, M, C_content]; C_content may be 0, as for bare point clouds.
      positions: [M, C_position] where a batch shares them, as an array or as those of a grid;
        [B, M, C_position] where each example has its own.
      mask: bool [B, M], true where an input is valid; None where all are. What masked inputs hold
        changes nothing, not even NaN.
    """

    content: jax.Array
    positions: jax.Array | GridPositions
    mask: jax.Array | None = None

    @property
    def num_inputs(self) -> int:
        """M, the number of inputs."""
        return self.content.shape[1]

    @property
    def channels(self) -> int:
        """C, the channels of content and position encoding together."""
        return self.content.shape[-1] + self.positions.shape[-1]

    def position_array(self) -> jax.Array:
        """The position encodings written out, [M, C_position] or [B, M, C_position]."""
        grid = isinstance(self.positions, GridPositions)
        return self.positions.array() if grid else self.positions

    def positions_of_each(self) -> jax.Array:
        """The position encodings written out for every example, [B, M, C_position]."""
        batch, num_inputs, _ = self.content.shape
        positions = self.position_array()
        chex.assert_shape(positions, (..., num_inputs, None))
        return jnp.broadcast_to(positions, (batch, num_inputs, positions.shape[-1]))

    def concatenate(self) -> jax.Array:
        """The byte array of the paper, float32 [B, M, C], with zeros where masked."""
        positions = self.positions_of_each()
        inputs = jnp.concatenate([self.content, positions], axis=-1).astype(jnp.float32)
        if self.mask is not None:
            chex.assert_shape(self.mask, inputs.shape[:2])
            inputs = jnp.where(self.mask[..., None], inputs, 0)
        return inputs

    def permute(self, order: jax.Array) -> "ByteArray":
        """The same inputs in another order, each with its position encoding (Table 2).

        Args:
          order: int [M], one for the batch, or [B, M], one for each example.
        """
        if order.ndim == 1:
            return ByteArray(
                self.content[:, order],
                self.position_array()[..., order, :],
                None if self.mask is None else self.mask[:, order],
            )
        batch, num_inputs = order.shape
        chex.assert_shape(self.content, (batch, num_inputs, None))
        return ByteArray(
            jnp.take_along_axis(self.content, order[..., None], axis=1),
            jnp.take_along_axis(self.positions_of_each(), order[..., None], axis=1),
            None if self.mask is None else jnp.take_along_axis(self.mask, order, axis=1),
        )


def same_width(parts: Sequence[ByteArray]) -> int:
    """The channels that all of several byte arrays have.

    Raises:
      InputError: other numbers of channels; `perceiver.fusion.fused` makes them equal.
    """
    widths = [part.channels for part in parts]
    if len(set(widths)) != 1:
        raise InputError(f"byte arrays of {widths} channels can't be fused: make them equally wide")
    return widths[0]
