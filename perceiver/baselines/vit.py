"""ViT: a Transformer over patches of a grid (Dosovitskiy et al., 2021, arXiv:2010.11929).

ViT-B-16 is a baseline of Tables 1 and 2; ViT-B with patches of 2 to 16 is one in Table 4.
"""

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.baselines.encoder import Encoder
from perceiver.baselines.grid import check_grid
from perceiver.blocks import LayerNorm, Linear
from perceiver.byte_array import ByteArray
from perceiver.errors import InputError

# Standard deviation of the learned position embedding's initialiser, as in the ViT paper's code.
_POSITION_SCALE = 0.02


class ViT(hk.Module):
    """A linear layer on patches, a class token, self-attends, and a head on the class token."""

    def __init__(
        self,
        num_classes: int,
        encoder: Encoder,
        *,
        grid: tuple[int, int],
        patch: int,
        name: str = "vit",
    ):
        """Sets the network up; ViT-B-16 has 12 layers of 768 channels, 12 heads and widening 4.

        Args:
          num_classes: number of outputs of the head.
          encoder: the self-attends.
          grid: rows and columns of the inputs.
          patch: side of a patch. A grid whose sides are not multiples of it is padded with zeros
            like a strided 'SAME' convolution, with the smaller half at the top and left.
          name: name of the module.

        Raises:
          InputError: a patch that is not positive.
        """
        super().__init__(name=name)
        if patch < 1:
            raise InputError(f"patch is {patch}; it must be at least 1")
        self._num_classes = num_classes
        self._encoder = encoder
        self._grid = grid
        self._patch = patch

    def __call__(self, inputs: ByteArray) -> jax.Array:
        """Maps inputs [B, M, C] in row-major order to class logits, float32 [B, num_classes].

        Raises:
          InputError: inputs that do not fill the grid, or masked inputs.
        """
        channels = self._encoder.channels
        patches = Patches(channels, grid=self._grid, patch=self._patch)(inputs)
        batch = patches.shape[0]
        token = hk.get_parameter("class_token", [channels], jnp.float32, init=jnp.zeros)
        token = jnp.broadcast_to(token, (batch, 1, channels))
        z = jnp.concatenate([token, patches], axis=1)  # [B, 1 + patches, D]
        z += hk.get_parameter(
            "positions",
            z.shape[1:],
            jnp.float32,
            init=hk.initializers.RandomNormal(_POSITION_SCALE),
        )
        z = self._encoder(z)
        summary = LayerNorm("layer_norm")(z[:, 0].astype(jnp.float32))  # [B, D]
        return Linear(self._num_classes, zero_init=True, name="head")(summary)


class Patches(hk.Module):
    """A linear layer that maps each patch to a vector.

    It is computed by convolutions, which do not copy the patches. Content and positions have
    separate convolutions, so that positions that the batch shares are processed once.
    """

    def __init__(self, channels: int, *, grid: tuple[int, int], patch: int, name: str = "patches"):
        """Takes the output channels, the rows and columns of the grid and the side of a patch."""
        super().__init__(name=name)
        self._channels = channels
        self._grid = grid
        self._patch = patch

    def __call__(self, inputs: ByteArray) -> jax.Array:
        """Maps inputs [B, M, C] to float32 [B, patches, channels], patches in row-major order."""
        check_grid(inputs, self._grid)
        batch, _, split = inputs.content.shape
        w = hk.get_parameter(
            "w",
            [self._patch, self._patch, inputs.channels, self._channels],
            jnp.float32,
            init=hk.initializers.VarianceScaling(1.0),
        )
        patches = hk.get_parameter("b", [self._channels], jnp.float32, init=jnp.zeros)
        for part, weights in (
            (inputs.content, w[:, :, :split]),
            (inputs.position_array(), w[:, :, split:]),
        ):
            if part.shape[-1]:
                patches += jax.lax.conv_general_dilated(
                    part.astype(jnp.float32).reshape(-1, *self._grid, part.shape[-1]),
                    weights,
                    window_strides=(self._patch, self._patch),
                    padding="SAME",
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )  # [B or 1, rows / patch, columns / patch, D]
        patches = patches.reshape(patches.shape[0], -1, self._channels)
        return jnp.broadcast_to(patches, (batch, *patches.shape[1:]))
