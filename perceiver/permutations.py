"""Permuted inputs, which test whether a network relies on the order of pixels (Table 2).

The permutation is applied after the position encoding, so every pixel keeps its own encoding.
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
    """Permutes the inputs.

    Args:
      inputs: M inputs of B examples.
      permutation: 'none'; 'fixed', one order for all examples, as in Table 2; or 'random', one
        order per example, which the first version of the paper also tested.
      seed: seed of the permutation, from 0 to below 2^32.
      index: int [B], the index of each example, for 'random'. An example's order depends only on
        the seed and this index, so it is the same in every epoch.

    Raises:
      InputError: an unknown permutation, or a seed out of range.
    """
    num_inputs = inputs.content.shape[1]
    if permutation == "none":
        return inputs
    if not 0 <= seed < 2**32:
        raise InputError(f"permutation_seed is {seed}; give one from 0 to below 2^32")
    if permutation == "fixed":
        # NumPy's legacy generator: its stream is frozen, so the order never changes.
        order = np.random.RandomState(seed).permutation(num_inputs)
        return inputs.permute(jnp.asarray(order, jnp.int32))
    if permutation == "random":
        assert index is not None, "a random order needs the index of each example"
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), index)
        return inputs.permute(jax.vmap(jax.random.permutation, (0, None))(keys, num_inputs))
    raise InputError(unknown(permutation, PERMUTATIONS, what="permutation"))
