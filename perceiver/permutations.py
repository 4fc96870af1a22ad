"""Permuted inputs: what is left when a network can't rely on the order of pixels (Table 2).

The permutation is applied after the position features, so that every pixel keeps its own.
"""

import jax
import jax.numpy as jnp
import numpy as np

from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.names import unknown

PERMUTATIONS = ("none", "fixed", "random")


def permuted(
    inputs: ByteArray, permutation: str, seed: int, index: jax.Array | None = None
) -> ByteArray:
    """Puts the inputs in another order.

    Args:
      inputs: M inputs of B examples.
      permutation: 'none'; 'fixed', one order for all examples, as in Table 2; or 'random', one for
        each example, as the first version of the paper also had it.
      seed: decides the order or orders; from 0 to below 2^32.
      index: int [B], the number of each example, for 'random'. An example's order depends on the
        seed and on this alone, so it is the same in every epoch.

    Raises:
      InputError: another permutation or seed.
    """
    num_inputs = inputs.content.shape[1]
    if permutation == "none":
        return inputs
    if not 0 <= seed < 2**32:
        raise InputError(f"permutation_seed is {seed}; give one from 0 to below 2^32")
    if permutation == "fixed":
        # NumPy's legacy generator: its stream is frozen, so the order outlives any library.
        order = np.random.RandomState(seed).permutation(num_inputs)
        return inputs.permute(jnp.asarray(order, jnp.int32))
    if permutation == "random":
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), index)
        return inputs.permute(jax.vmap(jax.random.permutation, (0, None))(keys, num_inputs))
    raise InputError(unknown(permutation, PERMUTATIONS, what="permutation"))
