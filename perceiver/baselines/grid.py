"""Byte arrays laid out on a 2-D grid, for ResNet and ViT (Tables 2 and 4).

The grid defines the neighbourhood of an input, and the position encoding does not. The two differ
after a permutation of the inputs, which Table 2 tests.
"""

import jax

from perceiver.byte_array import ByteArray
from perceiver.errors import InputError


def lay_on_grid(inputs: ByteArray, grid: tuple[int, int]) -> jax.Array:
    """Returns content and positions on a grid, float32 [B, rows, columns, C].

    Args:
      inputs: [B, M, C], in row-major order.
      grid: rows and columns.

    Raises:
      InputError: M is not rows x columns, or there is a mask.
    """
    check_grid(inputs, grid)
    return inputs.concatenate().reshape(-1, *grid, inputs.channels)


def check_grid(inputs: ByteArray, grid: tuple[int, int]) -> None:
    """Checks that the inputs fill a grid.

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


def strided_shape(grid: tuple[int, int], stride: int) -> tuple[int, int]:
    """Returns the rows and columns after an operation with this stride and 'SAME' padding."""
    rows, columns = grid
    return -(-rows // stride), -(-columns // stride)
