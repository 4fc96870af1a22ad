"""Attention to one block of inputs at a time, without an array of all [N, M] logits (Sec. 3.1).

The online softmax stores, for each query, the largest logit so far and sums relative to it, and
rescales the sums when a larger logit appears (Milakov and Gimelshein, 2018; Rabe and Staats, 2021).
The backward pass is written here: it computes the weights of a block again from the log-sum-exp of
each query's logits, so no array of size [N, M] is stored between the passes (Dao et al., 2022).

The inputs are folded: the normalised inputs are keys and values at once (see
`perceiver.attention.inputs`). Within a block, inputs are on the axis before the queries: sums over
inputs are then sums of vectors of queries, which CPUs compute several times faster than sums along
a vector.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from perceiver.attention.dense import MASKED_LOGIT, mask_logits, scale_queries
from perceiver.attention.inputs import BlockedInputs, FoldedInputs, dot_products
from perceiver.rematerialisation import save_for_backward


def folded_attention(queries: jax.Array, inputs: FoldedInputs) -> jax.Array:
    """Attends from queries [B, N, H, K] to folded inputs.

    Returns:
      The attended values [B, N, H, K] in the type of `queries`; zero for an example without valid
      inputs.
    """
    x = blockwise_attention(_fold(queries, inputs), inputs.parts)  # [B, H N, C]
    batch, num_latents, heads, _ = queries.shape
    x = x.reshape(batch, heads, num_latents, -1)
    values = jnp.einsum("bhnc,chk->bnhk", x, inputs.projection.value)
    values += inputs.projection.value_offset
    masks = [mask for part in inputs.parts if (mask := part.mask()) is not None]
    if len(masks) == len(inputs.parts):
        valid = jnp.stack([mask.any((0, 2)) for mask in masks]).any(0)  # [B]
        values *= valid[:, None, None, None]
    return values.astype(queries.dtype)


def folded_logits(queries: jax.Array, inputs: FoldedInputs) -> jax.Array:
    """Returns the logits of one segment before mask and softmax, float32 [B, H, N, M]."""
    batch, num_latents, heads, _ = queries.shape
    folded = _fold(queries, inputs)
    logits = [  # [B, M_i, H N]
        dot_products(part, folded)[:, :size]
        for part, size in zip(inputs.parts, inputs.segment_sizes, strict=True)
    ]
    logits = jnp.concatenate(logits, axis=1)
    logits = logits.swapaxes(1, 2).reshape(batch, heads, num_latents, -1)
    constant = jnp.einsum("bnhk,hk->bhn", scale_queries(queries), inputs.projection.key_offset)
    return logits + constant[..., None]


def _fold(queries, inputs):
    """Folds the key projection into the scaled queries, float32 [B, H N, C]."""
    folded = jnp.einsum("bnhk,chk->bhnc", scale_queries(queries), inputs.projection.key)
    return folded.reshape(len(folded), -1, folded.shape[-1])


def blockwise_attention(queries: jax.Array, parts: Sequence[BlockedInputs]) -> jax.Array:
    """Attends from Q queries y to all inputs of several parts: softmax(y . n_m) n_m.

    Args:
      queries: y, float32 [B, Q, C], already scaled.
      parts: the normalised inputs n_m, which are keys and values at once.

    Returns:
      float32 [B, Q, C]. The result of an example without valid inputs is finite, but meaningless.
    """
    chex.assert_rank(queries, 3)
    return _attention(queries, tuple(parts))


@jax.custom_vjp
def _attention(queries, parts):
    return _forward(queries, parts)[0]


def _forward(queries, parts):
    """Returns the attended inputs [B, Q, C] and the log-sum-exp of each query's logits [B, Q]."""
    partial = [_attend_to_part(queries, part) for part in parts]
    log_sums = jnp.stack([highest + jnp.log(total) for highest, total, _ in partial])
    log_sum = jax.nn.logsumexp(log_sums, axis=0)
    attended = [jnp.exp(highest - log_sum)[..., None] * x for highest, _, x in partial]
    return sum(attended[1:], attended[0]), log_sum


def _attend_to_part(queries, part):
    """Returns the largest logit and, relative to it, the sums of weights and weighted inputs."""
    shared, per_block = part.project(queries)

    def step(running, x):
        highest, total, sums = running
        block, mask, own = x
        logits = mask_logits(part.dot(block, (shared, own)), mask, input_axis=1)  # [B, m, Q]
        new_highest = jnp.maximum(highest, logits.max(1))
        weights = jnp.exp(logits - new_highest[:, None])
        rescale = jnp.exp(highest - new_highest)
        shared_sums, own_sums = part.transpose_dot(block, weights)
        sums = jax.tree.map(lambda old, new: rescale[:, None] * old + new, sums, shared_sums)
        return (new_highest, rescale * total + weights.sum(1), sums), (own_sums, new_highest)

    zero = jnp.zeros(queries.shape[:2])
    start = (zero + MASKED_LOGIT, zero, _zeros_like(shared))
    (highest, total, shared_sums), (own_sums, highest_at_block) = jax.lax.scan(
        step, start, (part.blocks(), part.mask(), per_block)
    )
    rescale = jnp.exp(highest_at_block - highest)  # [blocks, B, Q]
    own_sums = jax.tree.map(lambda x: rescale * x, own_sums)
    return highest, total, part.transpose_project((shared_sums, own_sums))


def _attention_forward(queries, parts):
    """Saves nothing of size [Q, M], and records the parts that need a gradient."""
    # Saved values must be JAX types: an empty tuple marks a part with a gradient, None one without.
    differentiated = tuple(
        () if any(x.perturbed for x in jax.tree.leaves(part)) else None for part in parts
    )
    queries, parts = jax.tree.map(lambda x: x.value, (queries, parts))
    attended, log_sum = _forward(queries, parts)
    attended = save_for_backward(attended, "attended")
    log_sum = save_for_backward(log_sum, "log_sum")
    return attended, (queries, parts, differentiated, attended, log_sum)


def _attention_backward(saved, cotangent):
    queries, parts, differentiated, attended, log_sum = saved
    if isinstance(cotangent, SymbolicZero):
        cotangent = jnp.zeros(attended.shape)
    mean = (cotangent * attended).sum(-1)  # [B, Q]
    gradients = [
        _part_gradients(queries, part, cotangent, mean, log_sum, marker is not None)
        for part, marker in zip(parts, differentiated, strict=True)
    ]
    d_queries, d_parts = zip(*gradients, strict=True)
    return sum(d_queries[1:], d_queries[0]), d_parts


def _part_gradients(queries, part, cotangent, mean, log_sum, differentiate_part):
    """Returns the gradient of the queries through a part, and the gradient of the part or None."""
    q_shared, q_per_block = part.project(queries)
    c_shared, c_per_block = part.project(cotangent)

    def step(running, x):
        block, mask, q_own, c_own = x

        def products(block):
            return part.dot(block, (q_shared, q_own)), part.dot(block, (c_shared, c_own))

        (logits, d_weights), products_vjp = jax.vjp(products, block)
        weights = jnp.exp(mask_logits(logits, mask, input_axis=1) - log_sum[:, None])  # [B, m, Q]
        d_logits = weights * (d_weights - mean[:, None])
        sums = [part.transpose_dot(block, d_logits)]
        d_block = None
        if differentiate_part:
            sums.append(part.transpose_dot(block, weights))
            (d_block,) = products_vjp((d_logits, weights))
        running = jax.tree.map(jnp.add, running, [shared for shared, _ in sums])
        return running, ([own for _, own in sums], d_block)

    start = [_zeros_like(q_shared)] * (2 if differentiate_part else 1)
    shared_sums, (own_sums, d_blocks) = jax.lax.scan(
        step, start, (part.blocks(), part.mask(), q_per_block, c_per_block)
    )
    sums = list(zip(shared_sums, own_sums, strict=True))
    d_queries = part.transpose_project(sums[0])
    if not differentiate_part:
        return d_queries, None
    _, blocks_vjp = jax.vjp(lambda part: part.blocks(), part)
    (d_part,) = blocks_vjp(d_blocks)
    for vectors, vector_sums in zip((queries, cotangent), sums, strict=True):
        outputs, project_vjp = jax.vjp(lambda part, y=vectors: part.project(y), part)
        vector_sums = jax.tree.map(lambda x, like: x.astype(like.dtype), vector_sums, outputs)
        d_part = jax.tree.map(_add_gradients, d_part, project_vjp(vector_sums)[0])
    return d_queries, d_part


_attention.defvjp(_attention_forward, _attention_backward, symbolic_zeros=True)


def _zeros_like(tree):
    return jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), tree)


def _add_gradients(x, y):
    """Adds two gradients. The gradients of masks have the type float0, which does not add."""
    return x if x.dtype == jax.dtypes.float0 else x + y
