"""The Perceiver in plain JAX, to read and as a reference for benchmarks (Sec. 3.1, App. C).

Nothing is optimised: attention is dense, every cross-attend projects keys and values again, the
program contains every layer, and JAX differentiates it. It takes the parameters of
`perceiver.model.Perceiver` and computes the same function.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from perceiver.architecture import Architecture
from perceiver.byte_array import ByteArray

Weights = Mapping[str, Mapping[str, jax.Array]]

_ROOT = "perceiver"
_EPSILON = 1e-5  # LayerNorm adds it to variances


def plain_perceiver(
    params: Weights,
    architecture: Architecture,
    inputs: Sequence[ByteArray],
    dtype: str = "float32",
) -> jax.Array:
    """Returns class logits, float32 [B, num_classes].

    Args:
      params: parameters of `perceiver.model.Perceiver` with this architecture; additional
        parameters are ignored.
      architecture: sizes of the network.
      inputs: the byte arrays of a batch, with the same number of channels, without masks.
      dtype: type of activations and products; LayerNorm, softmax and head are float32.

    Raises:
      ValueError: a byte array with a mask.
    """
    if any(part.mask is not None for part in inputs):
        raise ValueError("the plain Perceiver takes no masks: give byte arrays without")
    array = jnp.concatenate([part.concatenate() for part in inputs], axis=1)  # [B, M, C]
    size = architecture.inputs_per_cross_attend(array.shape[1])
    latents = params[_ROOT]["latents"].astype(dtype)
    z = jnp.broadcast_to(latents, (array.shape[0], *latents.shape))  # [B, N, D]
    for number, stage in enumerate(architecture.stages()):
        start = number * size if architecture.unrolled else 0
        segment = array[:, start : start + size]
        name = f"{_ROOT}/cross_attend_{stage.cross_attend}"
        z = _cross_attend(params, name, z, segment, architecture.cross_heads)
        for tower in stage.towers:
            for layer in range(architecture.self_attends_per_tower):
                name = f"{_ROOT}/tower_{tower}/self_attend_{layer}"
                z = _self_attend(params, name, z, architecture.self_heads)
    return _linear(params, f"{_ROOT}/head", z.astype(jnp.float32).mean(axis=1))


def _cross_attend(params: Weights, name: str, z: jax.Array, array: jax.Array, heads: int):
    """Attends from latents [B, N, D] to inputs [B, M, C]."""
    normalised = _layer_norm(params, f"{name}/layer_norm_inputs", array).astype(z.dtype)
    q = _linear(params, f"{name}/query", _layer_norm(params, f"{name}/layer_norm_latents", z))
    k = _linear(params, f"{name}/key", normalised)
    v = _linear(params, f"{name}/value", normalised)
    z = z + _linear(params, f"{name}/output", _attention(q, k, v, heads))
    return z + _dense(params, f"{name}/dense", z)


def _self_attend(params: Weights, name: str, z: jax.Array, heads: int):
    """Attends from latents [B, N, D] to each other."""
    normalised = _layer_norm(params, f"{name}/layer_norm", z)
    q, k, v = (_linear(params, f"{name}/{part}", normalised) for part in ("query", "key", "value"))
    z = z + _linear(params, f"{name}/output", _attention(q, k, v, heads))
    return z + _dense(params, f"{name}/dense", z)


def _attention(q: jax.Array, k: jax.Array, v: jax.Array, heads: int) -> jax.Array:
    """Returns softmax(Q K^T / sqrt(K)) V; Q is [B, N, H * K], K and V are [B, M, H * K]."""
    q, k, v = (x.reshape(*x.shape[:2], heads, -1) for x in (q, k, v))
    logits = jnp.einsum("bnhk,bmhk->bhnm", q, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(logits / jnp.sqrt(q.shape[-1]))
    attended = jnp.einsum("bhnm,bmhk->bnhk", weights.astype(v.dtype), v)
    return attended.reshape(*attended.shape[:2], -1)


def _dense(params: Weights, name: str, z: jax.Array) -> jax.Array:
    """Applies LayerNorm, linear, GELU, linear."""
    hidden = _linear(params, f"{name}/linear_0", _layer_norm(params, f"{name}/layer_norm", z))
    return _linear(params, f"{name}/linear_1", jax.nn.gelu(hidden))


def _linear(params: Weights, name: str, x: jax.Array) -> jax.Array:
    return x @ params[name]["w"].astype(x.dtype) + params[name]["b"].astype(x.dtype)


def _layer_norm(params: Weights, name: str, x: jax.Array) -> jax.Array:
    x32 = x.astype(jnp.float32)
    mean, variance = x32.mean(-1, keepdims=True), x32.var(-1, keepdims=True)
    normalised = (x32 - mean) / jnp.sqrt(variance + _EPSILON)
    return (normalised * params[name]["scale"] + params[name]["offset"]).astype(x.dtype)
