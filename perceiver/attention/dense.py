"""QKV attention: softmax(Q K^T / sqrt(K)) V, the one operation of every block (Sec. 3.1)."""

import chex
import jax
import jax.numpy as jnp

from perceiver.rematerialisation import kept

# Finite, so that a row without any valid input stays free of NaN; its weight is exactly zero in
# every row that has one.
_MASKED = -1e30


def attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Attends from N queries to M keys, with all logits at once.

    Products are accumulated and the softmax is taken in float32 whatever the inputs' type. The
    backward pass computes the weights [B, H, N, M] again: one matrix product in five, for keeping
    nothing of that size.

    Args:
      q: queries [B, N, H, K].
      k: keys [B, M, H, K].
      v: values [B, M, H, K].
      mask: bool [B, M], true where the input is valid; None where all are. A row of the batch
        without a valid input attends to nothing: its output is zero.

    Returns:
      The attended values [B, N, H, K] in the type of `v`.
    """
    chex.assert_rank([q, k, v], 4)
    chex.assert_equal_shape([k, v])
    chex.assert_equal_shape_prefix([q, k], 1)
    chex.assert_equal_shape_suffix([q, k], 2)
    if mask is not None:
        chex.assert_shape(mask, k.shape[:2])
    heads_first = (x.swapaxes(1, 2) for x in (_scaled(q), k, v))
    return _attention(*heads_first, mask).swapaxes(1, 2)


def attention_logits(q: jax.Array, k: jax.Array) -> jax.Array:
    """The logits before mask and softmax, Q K^T / sqrt(K), which the paper's maps show.

    Args:
      q: queries [B, N, H, K].
      k: keys [B, M, H, K].

    Returns:
      float32 [B, H, N, M].
    """
    return _product("bnhk,bmhk->bhnm", _scaled(q), k)


def _scaled(q):
    return (q.astype(jnp.float32) * q.shape[-1] ** -0.5).astype(q.dtype)


def _product(equation, x, y):
    return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)


@jax.custom_vjp
def _attention(q, k, v, mask):
    return _forward(q, k, v, mask)[0]


def _forward(q, k, v, mask):
    """Attended values [B, H, N, K], and the log of each query's sum of exponentiated logits."""
    logits = _masked(_product("bhnk,bhmk->bhnm", q, k), mask)
    highest = logits.max(-1)
    weights = jnp.exp(logits - highest[..., None])
    total = weights.sum(-1)
    attended = _product("bhnm,bhmk->bhnk", weights.astype(v.dtype), v) / total[..., None]
    if mask is not None:
        attended *= mask.any(-1)[:, None, None, None]
    return attended.astype(v.dtype), highest + jnp.log(total)


def _attention_forward(q, k, v, mask):
    attended, log_sum = _forward(q, k, v, mask)
    attended, log_sum = kept(attended, "attended"), kept(log_sum, "log_sum")
    return attended, (q, k, v, mask, attended, log_sum)


def _attention_backward(saved, slope):
    q, k, v, mask, attended, log_sum = saved
    if mask is not None:
        slope *= mask.any(-1)[:, None, None, None].astype(slope.dtype)
    logits = _masked(_product("bhnk,bhmk->bhnm", q, k), mask)
    weights = jnp.exp(logits - log_sum[..., None])
    mean_slope = (slope.astype(jnp.float32) * attended).sum(-1, keepdims=True)
    of_logits = weights * (_product("bhnk,bhmk->bhnm", slope, v) - mean_slope)
    of_logits, weights = of_logits.astype(k.dtype), weights.astype(k.dtype)
    of_q = _product("bhnm,bhmk->bhnk", of_logits, k)
    of_k = _product("bhnm,bhnk->bhmk", of_logits, q)
    of_v = _product("bhnm,bhnk->bhmk", weights, slope)
    return of_q.astype(q.dtype), of_k.astype(k.dtype), of_v.astype(v.dtype), None


_attention.defvjp(_attention_forward, _attention_backward)


def _masked(logits, mask):
    return logits if mask is None else jnp.where(mask[:, None, None, :], logits, _MASKED)
