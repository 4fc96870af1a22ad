"""The byte array: what a Perceiver attends to, content and position encoding kept apart.

Concatenation is what the paper defines (Sec. 3.2) and what the parameters look like. Keeping the
two apart until the key and value projections lets positions be shared by a whole batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class ByteArray(NamedTuple):
    """Inputs of a batch.

    Attributes:
      content: [B, M, C_content]; C_content may be 0, as for bare point clouds.
      positions: [M, C_position] where a batch shares them, [B, M, C_position] where each example
        has its own.
      mask: bool [B, M], true where an input is valid; None where all are. What masked inputs hold
        changes nothing, not even NaN.
    """

    content: jax.Array
    positions: jax.Array
    mask: jax.Array | None = None

    @property
    def num_inputs(self) -> int:
        """M, the number of inputs."""
        return self.content.shape[1]

    @property
    def channels(self) -> int:
        """C, the channels of content and position encoding together."""
        return self.content.shape[-1] + self.positions.shape[-1]

    def concatenate(self) -> jax.Array:
        """The byte array of the paper, float32 [B, M, C], with zeros where masked."""
        batch, num_inputs, _ = self.content.shape
        chex.assert_shape(self.positions, (..., num_inputs, None))
        positions = jnp.broadcast_to(self.positions, (batch, num_inputs, self.positions.shape[-1]))
        inputs = jnp.concatenate([self.content, positions], axis=-1).astype(jnp.float32)
        if self.mask is not None:
            chex.assert_shape(self.mask, (batch, num_inputs))
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
                self.positions[..., order, :],
                None if self.mask is None else self.mask[:, order],
            )
        batch, num_inputs = order.shape
        chex.assert_shape(self.content, (batch, num_inputs, None))
        positions = jnp.broadcast_to(self.positions, (batch, num_inputs, self.positions.shape[-1]))
        return ByteArray(
            jnp.take_along_axis(self.content, order[..., None], axis=1),
            jnp.take_along_axis(positions, order[..., None], axis=1),
            None if self.mask is None else jnp.take_along_axis(self.mask, order, axis=1),
        )


def concatenate_parts(parts: Sequence[ByteArray]) -> tuple[jax.Array, jax.Array | None]:
    """The inputs of several byte arrays after one another.

    Args:
      parts: byte arrays of the same batch and the same number of channels.

    Returns:
      float32 [B, M, C] with zeros where masked, and the mask, bool [B, M], or None without any.

    Raises:
      ValueError: other numbers of channels; `perceiver.fusion.fused` makes them equal.
    """
    widths = [part.channels for part in parts]
    if len(set(widths)) != 1:
        raise ValueError(f"byte arrays of {widths} channels can't be fused: make them equally wide")
    inputs = jnp.concatenate([part.concatenate() for part in parts], axis=1)
    if all(part.mask is None for part in parts):
        return inputs, None
    masks = [
        jnp.ones(part.content.shape[:2], bool) if part.mask is None else part.mask for part in parts
    ]
    return inputs, jnp.concatenate(masks, axis=1)
