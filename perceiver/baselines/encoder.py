"""The stack of Transformer layers that ViT and the Transformer share with the Perceiver's tower."""

import jax

from perceiver.blocks import Tower


def encode(z: jax.Array, *, layers: int, heads: int, widening: int, remat: bool) -> jax.Array:
    """Runs a latent Transformer's self-attends (Sec. 3.1, App. C) over vectors of any number.

    It belongs in a Haiku module.

    Args:
      z: [B, M, D].
      layers: self-attends, each with weights of its own.
      heads: of each.
      widening: hidden channels of the dense blocks in multiples of D.
      remat: compute each layer again in the backward pass.

    Returns:
      [B, M, D].

    Raises:
      ValueError: a size that is not positive, or heads that do not divide D.
    """
    for name, value in (("layers", layers), ("heads", heads), ("widening", widening)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if z.shape[-1] % heads:
        raise ValueError(f"heads is {heads}, which does not divide channels, {z.shape[-1]}")
    tower = Tower(layers=layers, heads=heads, widening=widening, remat=remat, name="tower")
    return tower(z, tower.parameters(z))
