"""QKV attention: softmax(Q K^T / sqrt(K)) V, the one operation of every block (Sec. 3.1)."""

import chex
import jax
import jax.numpy as jnp

# Finite, so that a row without any valid input stays free of NaN; its weight is exactly zero in
# every row that has one.
_MASKED = -1e30


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Attends from N queries to M keys.

    Products are accumulated and the softmax is taken in float32 whatever the inputs' type.

    Args:
      q: queries [B, N, H, K].
      k: keys [B, M, H, K].
      v: values [B, M, H, K].
      mask: bool [B, M], true where the input is valid; None where all are. A row of the batch
        without a valid input attends to nothing: its output is zero.

    Returns:
      The attended values [B, N, H, K] in the type of `v`, and the logits before mask and softmax,
      Q K^T / sqrt(K), float32 [B, H, N, M], which the paper's attention maps show.
    """
    chex.assert_rank([q, k, v], 4)
    chex.assert_equal_shape([k, v])
    chex.assert_equal_shape_prefix([q, k], 1)
    chex.assert_equal_shape_suffix([q, k], 2)
    scale = q.shape[-1] ** -0.5
    logits = scale * jnp.einsum("bnhk,bmhk->bhnm", q, k, preferred_element_type=jnp.float32)
    if mask is None:
        weights = jax.nn.softmax(logits)
    else:
        chex.assert_shape(mask, k.shape[:2])
        weights = jax.nn.softmax(jnp.where(mask[:, None, None, :], logits, _MASKED))
        weights *= mask.any(-1)[:, None, None, None]
    attended = jnp.einsum(
        "bhnm,bmhk->bnhk", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
    )
    return attended.astype(v.dtype), logits
