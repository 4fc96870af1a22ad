"""Byte arrays laid out on a 2-D grid, for networks that look at neighbourhoods (Tables 2 and 4).

The grid says where an input lies, whatever its position encoding says: after a permutation of the
inputs the two differ, which is what Table 2 is about.
"""

import jax

from perceiver.byte_array import ByteArray
from perceiver.errors import InputError


def on_grid(inputs: ByteArray, grid: tuple[int, int]) -> jax.Array:
    """Content and positions on a grid, float32 [B, rows, columns, C].

    Args:
      inputs: [B, M, C], in row-major order.
      grid: rows and columns.

    Raises:
      InputError: M is not rows x columns, or there is a mask.
    """
    check_grid(inputs, grid)
    return inputs.concatenate().reshape(-1, *grid, inputs.channels)


def check_grid(inputs: ByteArray, grid: tuple[int, int]) -> None:
    """Makes sure that inputs fill a grid.

    Raises:
      InputError: M is not rows x columns, or there is a mask.
    """
    rows, columns = grid
    if inputs.num_inputs != rows * columns:
        raise InputError(
            f"grid is {rows} x {columns}, {rows * columns} places, for {inputs.num_inputs} inputs"
        )
    if inputs.mask is not None:
        raise InputError("a grid takes no masked inputs: every one of its places must be valid")


def strided(grid: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns that a window of this stride leaves of a grid, padded as by 'SAME'."""
    rows, columns = grid
    return -(-rows // stride), -(-columns // stride)
