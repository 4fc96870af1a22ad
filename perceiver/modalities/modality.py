"""What a modality is: how its arrays become a byte array, and how large they are."""

import dataclasses
from collections.abc import Callable

import jax

from perceiver.byte_array import ByteArray


@dataclasses.dataclass(frozen=True)
class Modality:
    """One kind of input.

    Attributes:
      encode: the arrays of a batch, [B, ...], to content and positions; what else it takes, by
        name, is what can be set in `config.model.inputs`.
      sizes: the keys of `config.data` that the shape of an example depends on.
      spec: shape and dtype of one example, given these by name.
    """

    encode: Callable[..., ByteArray]
    sizes: tuple[str, ...]
    spec: Callable[..., jax.ShapeDtypeStruct]
