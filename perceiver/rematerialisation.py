"""Rematerialisation: the values that are saved for the backward pass or computed again in it.

Blocks and attention mark the values worth saving by `save_for_backward`: outputs of matrix products
and the statistics that attention's backward pass needs. The operations in between are elementwise
(LayerNorm, GELU, sums): they take little time, but their values take most of the memory.
"""

from collections.abc import Callable

import haiku as hk
import jax
from jax.ad_checkpoint import checkpoint_name

_SAVED = ("query", "key", "value", "attended", "log_sum", "middle", "hidden")

# The values of `config.model.remat`, with the options of `hk.remat`: compute nothing again, compute
# elementwise operations again, or compute whole blocks again.
REMAT = {
    "none": None,
    "elementwise": {"policy": jax.checkpoint_policies.save_only_these_names(*_SAVED)},
    "block": {},
}


def save_for_backward(x: jax.Array, name: str) -> jax.Array:
    """Marks an array that 'elementwise' saves.

    Raises:
      ValueError: an unknown name.
    """
    if name not in _SAVED:
        raise ValueError(f"{name!r} is not one of {_SAVED}")
    return checkpoint_name(x, name)


def rematerialise(block: Callable, options: dict | None, checkpoint: Callable = hk.remat):
    """Wraps a block so that the backward pass computes its inner values again.

    Args:
      block: a function of arrays.
      options: one of the values of `REMAT`.
      checkpoint: `hk.remat`, or `jax.checkpoint` for a function without Haiku modules.
    """
    return block if options is None else checkpoint(block, **options)
