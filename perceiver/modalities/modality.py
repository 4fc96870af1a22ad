"""The record that describes a modality: its encoding function and the shape of an example."""

import dataclasses
from collections.abc import Callable

import jax

from perceiver.byte_array import ByteArray


@dataclasses.dataclass(frozen=True)
class Modality:
    """One kind of input.

    Attributes:
      encode: function from the arrays of a batch, [B, ...], to content and positions. Its keyword
        arguments are keys of `config.model.inputs.<modality>`. If it takes `positions`, the other
        keys of that section build the position encoding.
      sizes: keys of `config.data` that the shape of an example depends on.
      spec: function from these keys to the shape and dtype of one example.
    """

    encode: Callable[..., ByteArray]
    sizes: tuple[str, ...]
    spec: Callable[..., jax.ShapeDtypeStruct]
