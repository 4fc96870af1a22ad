"""The Transformer baseline: the Perceiver's latent Transformer on the inputs themselves.

Sec. 4.1: 'the same architecture as the latent Transformer of the Perceiver', on images of 64 x 64
pixels, as its cost grows with the square of the inputs (Tables 1, 2 and 4).
"""

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.baselines.encoder import encode
from perceiver.blocks import Linear
from perceiver.byte_array import ByteArray
from perceiver.model import DTYPES, REMAT
from perceiver.names import look_up


class Transformer(hk.Module):
    """A linear layer, a stack of self-attends, the mean over inputs, and a linear head.

    It has no positions but those of its inputs, so their order changes nothing.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        channels: int,
        layers: int,
        heads: int,
        widening: int,
        dtype: str,
        remat: str,
        name: str = "transformer",
    ):
        """Sets the network up.

        Args:
          num_classes: outputs of the head.
          channels: D, of each vector after the first linear layer.
          layers: self-attends.
          heads: of each self-attend.
          widening: hidden channels of the dense blocks in multiples of D.
          dtype: 'float32' or 'bfloat16', in which the self-attends keep activations and compute
            products. Parameters, LayerNorm statistics, softmax, first layer and head stay float32:
            bfloat16 could not tell neighbouring positions apart.
          remat: 'none', or 'block' to compute each self-attend again in the backward pass.
          name: of the module.

        Raises:
          ValueError: another dtype or remat, or channels that are not positive.
        """
        super().__init__(name=name)
        if channels < 1:
            raise ValueError(f"channels is {channels}; it must be at least 1")
        self._num_classes = num_classes
        self._channels = channels
        self._layers = layers
        self._heads = heads
        self._widening = widening
        self._dtype = look_up(DTYPES, dtype, what="dtype")
        self._remat = look_up(REMAT, remat, what="remat")

    def __call__(self, inputs: ByteArray) -> jax.Array:
        """Class logits, float32 [B, num_classes], of inputs [B, M, C].

        Raises:
          ValueError: masked inputs, or sizes that do not fit (`perceiver.baselines.encoder`).
        """
        if inputs.mask is not None:
            raise ValueError("the Transformer takes no masked inputs: every one must be valid")
        z = Linear(self._channels, name="embed")(inputs.concatenate()).astype(self._dtype)
        z = encode(
            z,
            layers=self._layers,
            heads=self._heads,
            widening=self._widening,
            remat=self._remat,
        )  # [B, M, D]
        summary = z.astype(jnp.float32).mean(axis=1)  # [B, D]
        return Linear(self._num_classes, zero_init=True, name="head")(summary)
