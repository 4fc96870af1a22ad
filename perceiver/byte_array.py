"""The byte array: the inputs of a Perceiver, as separate content and position encodings (Sec. 3.2).

The paper concatenates the two, and the parameters have that layout. The arrays stay separate until
the key and value projections, so that a whole batch can share its positions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from perceiver.errors import InputError


class GridPositions(NamedTuple):
    """Position encodings of the points of a grid: a vector per row plus a vector per column.

    Each channel depends on either the row or the column, and is 0 in the other vector. If the grid
    has more than two dimensions, several of them are merged into rows or columns.

    Attributes:
      rows: [R, C_position].
      columns: [W, C_position].
    """

    rows: jax.Array
    columns: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of `array()`: M = R W, and C_position."""
        return len(self.rows) * len(self.columns), self.rows.shape[-1]

    def array(self) -> jax.Array:
        """Returns the encodings of all points, [M, C_position], in row-major order."""
        return (self.rows[:, None] + self.columns).reshape(self.shape)

    def with_constant(self, vector: jax.Array) -> "GridPositions":
        """Appends the same vector [C] to the encoding of every point."""
        rows = jnp.broadcast_to(vector, (len(self.rows), len(vector)))
        columns = jnp.zeros([len(self.columns), len(vector)], vector.dtype)
        return GridPositions(
            jnp.concatenate([self.rows, rows], axis=-1),
            jnp.concatenate([self.columns, columns], axis=-1),
        )


class ByteArray(NamedTuple):
    """The inputs of a batch.

    Attributes:
      content: [B, M, C_content]; C_content may be 0, as for point clouds without features.
      positions: [M, C_position] if the batch shares them, as an array or as `GridPositions`;
        [B, M, C_position] if each example has different positions.
      mask: bool [B, M], true for valid inputs; None if all are valid. The values of masked inputs
        have no effect, even if they are NaN.
    """

    content: jax.Array
    positions: jax.Array | GridPositions
    mask: jax.Array | None = None

    @property
    def num_inputs(self) -> int:
        """The number of inputs M."""
        return self.content.shape[1]

    @property
    def channels(self) -> int:
        """The number of channels C of content and position encoding together."""
        return self.content.shape[-1] + self.positions.shape[-1]

    def position_array(self) -> jax.Array:
        """Returns the position encodings as an array, [M, C_position] or [B, M, C_position]."""
        if isinstance(self.positions, GridPositions):
            return self.positions.array()
        return self.positions

    def positions_per_example(self) -> jax.Array:
        """Returns the position encodings as an array for every example, [B, M, C_position]."""
        batch, num_inputs, _ = self.content.shape
        positions = self.position_array()
        chex.assert_shape(positions, (..., num_inputs, None))
        return jnp.broadcast_to(positions, (batch, num_inputs, positions.shape[-1]))

    def concatenate(self) -> jax.Array:
        """Returns the byte array of the paper, float32 [B, M, C], with zeros for masked inputs."""
        positions = self.positions_per_example()
        inputs = jnp.concatenate([self.content, positions], axis=-1).astype(jnp.float32)
        if self.mask is not None:
            chex.assert_shape(self.mask, inputs.shape[:2])
            inputs = jnp.where(self.mask[..., None], inputs, 0)
        return inputs

    def permute(self, order: jax.Array) -> "ByteArray":
        """Returns the inputs in a new order, each with its position encoding (Table 2).

        Args:
          order: int [M] for the whole batch, or [B, M] with one order per example.
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
            jnp.take_along_axis(self.positions_per_example(), order[..., None], axis=1),
            None if self.mask is None else jnp.take_along_axis(self.mask, order, axis=1),
        )


def common_channels(parts: Sequence[ByteArray]) -> int:
    """Returns the number of channels that all byte arrays have.

    Raises:
      InputError: different numbers of channels; `perceiver.fusion.fused` makes them equal.
    """
    channels = [part.channels for part in parts]
    if len(set(channels)) != 1:
        raise InputError(f"byte arrays of {channels} channels can't be fused: give all the same")
    return channels[0]
