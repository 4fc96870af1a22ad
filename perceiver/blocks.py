"""The two kinds of block, cross-attend and self-attend, each followed by a dense block (App. C).

Pre-norm and fully residual, as in GPT-2: no masks by default, no dropout. Parameters, LayerNorm
statistics and softmax are float32; products are computed in the type of the latents.
"""

import functools

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.attention import attention


class Linear(hk.Module):
    """A linear layer over the last axis: float32 parameters, computed in the input's type."""

    def __init__(self, channels: int, *, zero_init: bool = False, name: str):
        """Takes the output channels; `zero_init` starts the weights at zero."""
        super().__init__(name=name)
        self._channels = channels
        self._init = jnp.zeros if zero_init else hk.initializers.VarianceScaling(1.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., C] to [..., channels]."""
        w = hk.get_parameter("w", [x.shape[-1], self._channels], jnp.float32, init=self._init)
        b = hk.get_parameter("b", [self._channels], jnp.float32, init=jnp.zeros)
        return x @ w.astype(x.dtype) + b.astype(x.dtype)


def layer_norm(x: jax.Array, *, name: str = "layer_norm") -> jax.Array:
    """LayerNorm over the last axis with scale and offset, statistics in float32."""
    norm = hk.LayerNorm(axis=-1, create_scale=True, create_offset=True, name=name)
    return norm(x.astype(jnp.float32)).astype(x.dtype)


def _split_heads(x: jax.Array, heads: int) -> jax.Array:
    """[B, M, H * K] -> [B, M, H, K]."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


def _merge_heads(x: jax.Array) -> jax.Array:
    """[B, M, H, K] -> [B, M, H * K]."""
    return x.reshape(*x.shape[:-2], -1)


class Dense(hk.Module):
    """LayerNorm, linear, GELU, linear, added to the input (App. C)."""

    def __init__(self, widening: int, name: str = "dense"):
        """Takes the hidden channels in multiples of the input's."""
        super().__init__(name=name)
        self._widening = widening

    def __call__(self, latents: jax.Array) -> jax.Array:
        """Maps [B, N, D] to [B, N, D]."""
        channels = latents.shape[-1]
        hidden = Linear(self._widening * channels, name="linear_0")(layer_norm(latents))
        return latents + Linear(channels, name="linear_1")(jax.nn.gelu(hidden))


class CrossAttend(hk.Module):
    """The latents attend to the byte array, then a dense block (Sec. 3.1, App. C).

    Keys and values depend neither on the latents nor on how often the module is applied, so they
    are a call of their own: a shared cross-attend computes them once.
    """

    def __init__(self, *, channels: int, heads: int, widening: int, name: str):
        """Takes the channels of queries, keys and values, the heads, and the dense widening."""
        super().__init__(name=name)
        self._channels = channels
        self._heads = heads
        self._widening = widening

    @hk.name_like("__call__")
    def keys_and_values(self, inputs: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
        """Projects inputs, float32 [B, M, C], to keys and values, each [B, M, H, K] in `dtype`.

        They are normalised before they are rounded to `dtype`: bfloat16 could not tell the 224
        coordinates of a side apart.
        """
        normal = layer_norm(inputs, name="layer_norm_inputs").astype(dtype)
        key = Linear(self._channels, name="key")(normal)
        value = Linear(self._channels, name="value")(normal)
        return _split_heads(key, self._heads), _split_heads(value, self._heads)

    def __call__(
        self,
        latents: jax.Array,
        keys: jax.Array,
        values: jax.Array,
        mask: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array]:
        """Attends once.

        Args:
          latents: [B, N, D].
          keys: [B, M, H, K], from `keys_and_values`.
          values: [B, M, H, K].
          mask: bool [B, M] or None.

        Returns:
          The new latents [B, N, D] and the attention logits before the softmax [B, H, N, M].
        """
        query = Linear(self._channels, name="query")(layer_norm(latents, name="layer_norm_latents"))
        attended, logits = attention(_split_heads(query, self._heads), keys, values, mask)
        latents += Linear(latents.shape[-1], name="output")(_merge_heads(attended))
        return Dense(self._widening)(latents), logits


class SelfAttend(hk.Module):
    """One layer of the latent Transformer: self-attention, then a dense block (App. C)."""

    def __init__(self, *, heads: int, widening: int, name: str):
        """Takes the heads and the dense widening."""
        super().__init__(name=name)
        self._heads = heads
        self._widening = widening

    def __call__(self, latents: jax.Array) -> jax.Array:
        """Maps [B, N, D] to [B, N, D]."""
        normal = layer_norm(latents)
        query, key, value = (
            _split_heads(Linear(latents.shape[-1], name=name)(normal), self._heads)
            for name in ("query", "key", "value")
        )
        attended, _ = attention(query, key, value)
        latents += Linear(latents.shape[-1], name="output")(_merge_heads(attended))
        return Dense(self._widening)(latents)


class Tower(hk.Module):
    """A latent Transformer: self-attends with weights of their own, run as one loop.

    Each layer keeps its parameters under its own name, so that initialisation, LAMB's layer-wise
    trust ratios and checkpoints are those of separate layers. They are stacked only to be looped
    over, by `parameters`, which belongs outside any loop over towers.
    """

    def __init__(self, *, layers: int, heads: int, widening: int, remat: bool, name: str):
        """Takes the number of layers, heads, dense widening, and whether to rematerialise."""
        super().__init__(name=name)
        self._layers = layers
        self._make_layer = functools.partial(SelfAttend, heads=heads, widening=widening)
        self._remat = remat

    @hk.name_like("__call__")
    def parameters(self, latents: jax.Array) -> hk.MutableParams:
        """The layers' parameters, each stacked to [layers, ...], for latents [B, N, D]."""
        layers = [self._make_layer(name=f"self_attend_{i}") for i in range(self._layers)]
        if hk.running_init():
            for layer in layers:
                layer(latents)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(_named_parameters, layers))

    def __call__(self, latents: jax.Array, parameters: hk.MutableParams) -> jax.Array:
        """Maps [B, N, D] to [B, N, D], given what `parameters` returned."""

        def layer(z):
            return self._make_layer(name=_LAYER)(z)

        apply = hk.transform(layer).apply

        def body(z, layer_parameters):
            return apply(layer_parameters, None, z), None

        return jax.lax.scan(jax.checkpoint(body) if self._remat else body, latents, parameters)[0]


# What the layers of a tower are called inside its loop, where they have to be called the same.
_LAYER = "layer"


def _named_parameters(module: hk.Module) -> hk.MutableParams:
    """A module's parameters as a tree of its own, {module: {name: array}}, rooted at _LAYER."""
    tree: hk.MutableParams = {}
    for path, array in module.params_dict().items():
        inner, name = path.removeprefix(module.module_name).rsplit("/", 1)
        tree.setdefault(_LAYER + inner, {})[name] = array
    return tree
