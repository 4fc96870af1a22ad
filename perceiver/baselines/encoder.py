"""The stack of Transformer layers that ViT and the Transformer share with the Perceiver's tower."""

import dataclasses

import jax

from perceiver.blocks import Tower
from perceiver.errors import InputError
from perceiver.model import DTYPES
from perceiver.names import look_up
from perceiver.rematerialisation import REMAT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """A latent Transformer's self-attends (Sec. 3.1, App. C) over vectors of any number.

    Attributes:
      channels: D, of each vector.
      layers: self-attends, each with weights of its own.
      heads: of each self-attend.
      widening: hidden channels of the dense blocks in multiples of D.
      dtype: 'float32' or 'bfloat16', in which activations are kept and products computed.
        Parameters, LayerNorm statistics and softmax stay float32; so should what comes before, as
        bfloat16 could not tell neighbouring positions apart.
      remat: what the backward pass computes again, a key of `perceiver.rematerialisation.REMAT`.

    Raises:
      InputError: a size that is not positive, heads that do not divide D, another dtype or remat.
    """

    channels: int
    layers: int
    heads: int
    widening: int
    dtype: str
    remat: str

    def __post_init__(self):
        for name in ("channels", "layers", "heads", "widening"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.channels % self.heads:
            raise InputError(
                f"heads is {self.heads}, which does not divide channels, {self.channels}"
            )
        look_up(DTYPES, self.dtype, what="dtype")
        look_up(REMAT, self.remat, what="remat")

    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps [B, M, D] to [B, M, D] in `dtype`, inside a Haiku module."""
        z = z.astype(DTYPES[self.dtype])
        tower = Tower(
            layers=self.layers,
            heads=self.heads,
            widening=self.widening,
            remat=REMAT[self.remat],
            name="tower",
        )
        return tower.looped(z)(z)
