"""The Transformer layers of ViT and the Transformer baseline, the same as a latent tower."""

import dataclasses

import jax

from perceiver.blocks import Tower
from perceiver.errors import InputError
from perceiver.model import DTYPES
from perceiver.names import look_up
from perceiver.rematerialisation import REMAT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """A latent Transformer's self-attends (Sec. 3.1, App. C) over any number of vectors.

    Attributes:
      channels: number of channels D of each vector.
      layers: number of self-attends; they do not share weights.
      heads: number of heads of each self-attend.
      widening: hidden channels of the dense blocks as a multiple of D.
      dtype: type of activations and matrix products, 'float32' or 'bfloat16'. Parameters, LayerNorm
        statistics and softmax stay float32. Layers before the encoder should be float32 too,
        because bfloat16 cannot distinguish neighbouring positions.
      remat: values that the backward pass computes again, a key of
        `perceiver.rematerialisation.REMAT`.

    Raises:
      InputError: a size that is not positive, a number of heads that does not divide D, or an
        unknown dtype or remat.
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
