"""What the backward pass keeps of the forward pass, and what it computes again.

Kept by name: what is written `kept(x, name)` in blocks and attention is the output of a matrix
product, or what an attention's backward pass goes by. What lies between is elementwise (LayerNorm,
GELU, sums), costs little time and, kept, most of the memory.
"""

from collections.abc import Callable

import haiku as hk
import jax
from jax.ad_checkpoint import checkpoint_name

_NAMES = ("query", "key", "value", "attended", "log_sum", "middle", "hidden")

# What is computed again: nothing; what is elementwise; everything within a block.
REMAT = {
    "none": None,
    "elementwise": {"policy": jax.checkpoint_policies.save_only_these_names(*_NAMES)},
    "block": {},
}


def kept(x: jax.Array, name: str) -> jax.Array:
    """Names an array that 'elementwise' keeps.

    Raises:
      ValueError: a name that it does not know.
    """
    if name not in _NAMES:
        raise ValueError(f"{name!r} is not one of {_NAMES}")
    return checkpoint_name(x, name)


def rematerialised(block: Callable, options: dict | None, checkpoint: Callable = hk.remat):
    """A block whose inner values are computed again as a value of `REMAT` says.

    Args:
      block: a function of arrays.
      options: one of the values of `REMAT`.
      checkpoint: `hk.remat`, or `jax.checkpoint` for a function without modules.
    """
    return block if options is None else checkpoint(block, **options)
