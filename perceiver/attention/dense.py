"""Dense attention with all logits at once: softmax(Q K^T / sqrt(K)) V (Sec. 3.1).

The scaling of queries and the masking of logits are the same in every implementation.
"""

import chex
import jax
import jax.numpy as jnp

from perceiver.rematerialisation import save_for_backward

# The logit of an invalid input. It is finite, so that a query without any valid input stays free of
# NaN. The weight of an invalid input is exactly zero for every query that has a valid one.
MASKED_LOGIT = -1e30


def scale_queries(queries: jax.Array) -> jax.Array:
    """Returns queries [..., K] divided by sqrt(K), in float32."""
    return queries.astype(jnp.float32) * queries.shape[-1] ** -0.5


def mask_logits(logits: jax.Array, mask: jax.Array | None, *, input_axis: int) -> jax.Array:
    """Replaces the logits of invalid inputs.

    Args:
      logits: [B, ...], with the M inputs on one of the axes.
      mask: bool [B, M], true for valid inputs; None if all are valid.
      input_axis: axis of the inputs.
    """
    if mask is None:
        return logits
    other_axes = [axis for axis in range(1, logits.ndim) if axis != input_axis]
    return jnp.where(jnp.expand_dims(mask, other_axes), logits, MASKED_LOGIT)


def dense_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
    """Attends from N queries to M keys.

    Products are accumulated and the softmax is computed in float32, whatever the type of the
    arguments. The backward pass computes the weights [B, H, N, M] again: this costs one matrix
    product in five and avoids storing an array of that size.

    Args:
      q: queries [B, N, H, K].
      k: keys [B, M, H, K].
      v: values [B, M, H, K].
      mask: bool [B, M], true for valid inputs; None if all are valid. The output of an example
        without valid inputs is zero.

    Returns:
      The attended values [B, N, H, K] in the type of `v`.
    """
    chex.assert_rank([q, k, v], 4)
    chex.assert_equal_shape([k, v])
    chex.assert_equal_shape_prefix([q, k], 1)
    chex.assert_equal_shape_suffix([q, k], 2)
    if mask is not None:
        chex.assert_shape(mask, k.shape[:2])
    heads_first = (x.swapaxes(1, 2) for x in (scale_queries(q).astype(q.dtype), k, v))
    return _attention(*heads_first, mask).swapaxes(1, 2)


def dense_logits(q: jax.Array, k: jax.Array) -> jax.Array:
    """Returns the logits before mask and softmax, float32 [B, H, N, M].

    Args:
      q: queries [B, N, H, K].
      k: keys [B, M, H, K].
    """
    return _product("bnhk,bmhk->bhnm", scale_queries(q).astype(q.dtype), k)


def _product(equation, x, y):
    return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)


@jax.custom_vjp
def _attention(q, k, v, mask):
    return _forward(q, k, v, mask)[0]


def _masked_logits(q, k, mask):
    return mask_logits(_product("bhnk,bhmk->bhnm", q, k), mask, input_axis=3)


def _forward(q, k, v, mask):
    """Returns attended values [B, H, N, K] and the log-sum-exp of each query's logits [B, H, N]."""
    logits = _masked_logits(q, k, mask)
    highest = logits.max(-1)
    weights = jnp.exp(logits - highest[..., None])
    total = weights.sum(-1)
    attended = _product("bhnm,bhmk->bhnk", weights.astype(v.dtype), v) / total[..., None]
    if mask is not None:
        attended *= mask.any(-1)[:, None, None, None]
    return attended.astype(v.dtype), highest + jnp.log(total)


def _attention_forward(q, k, v, mask):
    attended, log_sum = _forward(q, k, v, mask)
    attended = save_for_backward(attended, "attended")
    log_sum = save_for_backward(log_sum, "log_sum")
    return attended, (q, k, v, mask, attended, log_sum)


def _attention_backward(saved, cotangent):
    q, k, v, mask, attended, log_sum = saved
    if mask is not None:
        cotangent *= mask.any(-1)[:, None, None, None].astype(cotangent.dtype)
    weights = jnp.exp(_masked_logits(q, k, mask) - log_sum[..., None])
    mean = (cotangent.astype(jnp.float32) * attended).sum(-1, keepdims=True)
    d_logits = weights * (_product("bhnk,bhmk->bhnm", cotangent, v) - mean)
    d_logits, weights = d_logits.astype(k.dtype), weights.astype(k.dtype)
    d_q = _product("bhnm,bhmk->bhnk", d_logits, k)
    d_k = _product("bhnm,bhnk->bhmk", d_logits, q)
    d_v = _product("bhnm,bhnk->bhmk", weights, cotangent)
    return d_q.astype(q.dtype), d_k.astype(k.dtype), d_v.astype(v.dtype), None


_attention.defvjp(_attention_forward, _attention_backward)
