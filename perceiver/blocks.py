"""The two kinds of block, cross-attend and self-attend, each followed by a dense block (App. C).

Pre-norm and fully residual, as in GPT-2: no masks by default, no dropout. Parameters, LayerNorm
statistics and softmax are float32; products are computed in the type of the latents.
"""

import functools
from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.attention.attend import Folded, Keys, Projection
from perceiver.attention.dense import attention
from perceiver.attention.normalised_inputs import normal_rows
from perceiver.rematerialisation import kept, rematerialised


class Linear(hk.Module):
    """A linear layer over the last axis: float32 parameters, computed in the input's type."""

    def __init__(self, channels: int, *, zero_init: bool = False, name: str):
        """Takes the output channels; `zero_init` starts the weights at zero."""
        super().__init__(name=name)
        self._channels = channels
        self._init = jnp.zeros if zero_init else hk.initializers.VarianceScaling(1.0)

    @hk.name_like("__call__")
    def parameters(self, input_channels: int) -> tuple[jax.Array, jax.Array]:
        """Weights [C, channels] and offset [channels]."""
        shape = [input_channels, self._channels]
        w = hk.get_parameter("w", shape, jnp.float32, init=self._init)
        b = hk.get_parameter("b", [self._channels], jnp.float32, init=jnp.zeros)
        return w, b

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., C] to [..., channels].

        As one matrix product: the gradient of a product with more axes is one of transposed copies
        on a CPU, into which XLA fuses all that came before.
        """
        w, b = self.parameters(x.shape[-1])
        y = x.reshape(-1, x.shape[-1]) @ w.astype(x.dtype)
        return y.reshape(*x.shape[:-1], -1) + b.astype(x.dtype)


class LayerNorm(hk.Module):
    """LayerNorm over the last axis with scale and offset, statistics in float32."""

    @hk.name_like("__call__")
    def parameters(self, channels: int) -> tuple[jax.Array, jax.Array]:
        """Scale and offset, each [channels]."""
        scale = hk.get_parameter("scale", [channels], jnp.float32, init=jnp.ones)
        return scale, hk.get_parameter("offset", [channels], jnp.float32, init=jnp.zeros)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., C] to [..., C], of the same type."""
        scale, offset = self.parameters(x.shape[-1])
        return (normal_rows(x) * scale + offset).astype(x.dtype)


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
        normal = LayerNorm("layer_norm")(latents)
        hidden = kept(Linear(self._widening * channels, name="linear_0")(normal), "hidden")
        return latents + Linear(channels, name="linear_1")(jax.nn.gelu(hidden))


class CrossAttend(hk.Module):
    """The latents attend to the byte array, then a dense block (Sec. 3.1, App. C).

    What they attend to depends neither on the latents nor on how often the module is applied, so
    it is a call of its own: a shared cross-attend computes it once.
    """

    def __init__(self, *, channels: int, heads: int, widening: int, name: str):
        """Takes the channels of queries, keys and values, the heads, and the dense widening."""
        super().__init__(name=name)
        self._channels = channels
        self._heads = heads
        self._widening = widening

    @hk.name_like("__call__")
    def projection(self, input_channels: int) -> Projection:
        """How normalised inputs of C channels become keys and values, LayerNorm's scale in it."""
        scale, offset = LayerNorm("layer_norm_inputs").parameters(input_channels)
        projections = []
        for name in ("key", "value"):
            w, b = Linear(self._channels, name=name).parameters(input_channels)
            projections += [
                _split_heads(scale[:, None] * w, self._heads),
                _split_heads(offset @ w + b, self._heads),
            ]
        return Projection(*projections)

    def __call__(self, latents: jax.Array, seen: Keys | Folded) -> jax.Array:
        """Attends once: latents [B, N, D] to [B, N, D]."""
        attended = seen.attended(self.queries(latents))
        latents += Linear(latents.shape[-1], name="output")(_merge_heads(attended))
        return Dense(self._widening)(kept(latents, "middle"))

    @hk.name_like("__call__")
    def queries(self, latents: jax.Array) -> jax.Array:
        """Queries [B, N, H, K] of latents [B, N, D]."""
        query = Linear(self._channels, name="query")(LayerNorm("layer_norm_latents")(latents))
        return _split_heads(kept(query, "query"), self._heads)


class SelfAttend(hk.Module):
    """One layer of the latent Transformer: self-attention, then a dense block (App. C)."""

    def __init__(self, *, heads: int, widening: int, name: str):
        """Takes the heads and the dense widening."""
        super().__init__(name=name)
        self._heads = heads
        self._widening = widening

    def __call__(self, latents: jax.Array) -> jax.Array:
        """Maps [B, N, D] to [B, N, D]."""
        normal = LayerNorm("layer_norm")(latents)
        query, key, value = (
            _split_heads(kept(Linear(latents.shape[-1], name=name)(normal), name), self._heads)
            for name in ("query", "key", "value")
        )
        attended = attention(query, key, value)
        latents += Linear(latents.shape[-1], name="output")(_merge_heads(attended))
        return Dense(self._widening)(kept(latents, "middle"))


class Tower(hk.Module):
    """A latent Transformer: self-attends with weights of their own.

    Each layer keeps its parameters under its own name, so that initialisation, LAMB's layer-wise
    trust ratios and checkpoints are those of separate layers.
    """

    def __init__(self, *, layers: int, heads: int, widening: int, remat: dict | None, name: str):
        """Takes the number of layers, heads, dense widening, and a value of `REMAT`."""
        super().__init__(name=name)
        self._layers = layers
        self._make_layer = functools.partial(SelfAttend, heads=heads, widening=widening)
        self._remat = remat

    def __call__(self, latents: jax.Array) -> jax.Array:
        """Maps [B, N, D] to [B, N, D], the layers one after another in the program."""
        for i in range(self._layers):
            layer = self._make_layer(name=f"self_attend_{i}")
            latents = rematerialised(layer, self._remat)(latents)
        return latents

    @hk.name_like("__call__")
    def looped(self, latents: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """A function like this module whose layers are one loop in the program.

        For that their parameters are stacked, here: it belongs outside any loop over towers. The
        program is short however many layers there are, but stacking them, and taking each layer's
        out again, costs a copy of all.
        """
        layers = [self._make_layer(name=f"self_attend_{i}") for i in range(self._layers)]
        if hk.running_init():
            for layer in layers:
                layer(latents)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(_named_parameters, layers))

        def layer(z):
            return self._make_layer(name=_LAYER)(z)

        apply = hk.transform(layer).apply

        def body(z, layer_parameters):
            return apply(layer_parameters, None, z), None

        body = rematerialised(body, self._remat, jax.checkpoint)
        return lambda z: jax.lax.scan(body, z, stacked)[0]


# What the layers of a tower are called inside its loop, where they have to be called the same.
_LAYER = "layer"


def _named_parameters(module: hk.Module) -> hk.MutableParams:
    """A module's parameters as a tree of its own, {module: {name: array}}, rooted at _LAYER."""
    tree: hk.MutableParams = {}
    for path, array in module.params_dict().items():
        inner, name = path.removeprefix(module.module_name).rsplit("/", 1)
        tree.setdefault(_LAYER + inner, {})[name] = array
    return tree
