"""The Transformer baseline: the Perceiver's latent Transformer, applied to the inputs directly.

Sec. 4.1: 'the same architecture as the latent Transformer of the Perceiver', on images of 64 x 64
pixels, because its cost is quadratic in the number of inputs (Tables 1, 2 and 4).
"""

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.baselines.encoder import Encoder
from perceiver.blocks import Linear
from perceiver.byte_array import ByteArray
from perceiver.errors import InputError


class Transformer(hk.Module):
    """A linear layer, a stack of self-attends, the mean over inputs, and a linear head.

    The only positions are those of the inputs, so the order of the inputs has no effect.
    """

    def __init__(self, num_classes: int, encoder: Encoder, *, name: str = "transformer"):
        """Takes the number of outputs of the head, and the self-attends."""
        super().__init__(name=name)
        self._num_classes = num_classes
        self._encoder = encoder

    def __call__(self, inputs: ByteArray) -> jax.Array:
        """Maps inputs [B, M, C] to class logits, float32 [B, num_classes].

        Raises:
          InputError: masked inputs.
        """
        if inputs.mask is not None:
            raise InputError("the Transformer takes no masked inputs: every one must be valid")
        z = Linear(self._encoder.channels, name="embed")(inputs.concatenate())
        z = self._encoder(z)  # [B, M, D]
        summary = z.astype(jnp.float32).mean(axis=1)  # [B, D]
        return Linear(self._num_classes, zero_init=True, name="head")(summary)
