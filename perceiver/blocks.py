"""The blocks of the network: cross-attend and self-attend, each followed by a dense block (App. C).

Pre-norm and fully residual, as in GPT-2: no masks by default, no dropout. Parameters, LayerNorm
statistics and softmax are float32; products are computed in the type of the latents.
"""

import functools
from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.attention import AttentionInputs, ProjectedInputs, Projection, attend
from perceiver.attention.inputs import normalise_channels
from perceiver.rematerialisation import rematerialise, save_for_backward


class Linear(hk.Module):
    """A linear layer over the last axis: float32 parameters, computed in the input's type."""

    def __init__(self, channels: int, *, zero_init: bool = False, name: str):
        """Takes the number of output channels; `zero_init` initialises the weights with zeros."""
        super().__init__(name=name)
        self._channels = channels
        self._init = jnp.zeros if zero_init else hk.initializers.VarianceScaling(1.0)

    @hk.name_like("__call__")
    def parameters(self, input_channels: int) -> tuple[jax.Array, jax.Array]:
        """Returns the weights [C, channels] and the bias [channels]."""
        shape = [input_channels, self._channels]
        w = hk.get_parameter("w", shape, jnp.float32, init=self._init)
        b = hk.get_parameter("b", [self._channels], jnp.float32, init=jnp.zeros)
        return w, b

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., C] to [..., channels].

        The product is computed with 2 axes: the gradient of a product with more axes multiplies
        transposed copies on a CPU, and XLA fuses all preceding operations into these copies.
        """
        w, b = self.parameters(x.shape[-1])
        y = x.reshape(-1, x.shape[-1]) @ w.astype(x.dtype)
        return y.reshape(*x.shape[:-1], -1) + b.astype(x.dtype)


class LayerNorm(hk.Module):
    """LayerNorm over the last axis with scale and offset, statistics in float32."""

    @hk.name_like("__call__")
    def parameters(self, channels: int) -> tuple[jax.Array, jax.Array]:
        """Returns the scale and the offset, each [channels]."""
        scale = hk.get_parameter("scale", [channels], jnp.float32, init=jnp.ones)
        return scale, hk.get_parameter("offset", [channels], jnp.float32, init=jnp.zeros)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., C] to [..., C], in the same type."""
        scale, offset = self.parameters(x.shape[-1])
        return (normalise_channels(x) * scale + offset).astype(x.dtype)


def _split_heads(x: jax.Array, heads: int) -> jax.Array:
    """Reshapes [B, M, H * K] to [B, M, H, K]."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


def _merge_heads(x: jax.Array) -> jax.Array:
    """Reshapes [B, M, H, K] to [B, M, H * K]."""
    return x.reshape(*x.shape[:-2], -1)


class Dense(hk.Module):
    """LayerNorm, linear, GELU, linear, added to the input (App. C)."""

    def __init__(self, widening: int, name: str = "dense"):
        """Takes the number of hidden channels as a multiple of the input channels."""
        super().__init__(name=name)
        self._widening = widening

    def __call__(self, latents: jax.Array) -> jax.Array:
        """Maps [B, N, D] to [B, N, D]."""
        channels = latents.shape[-1]
        normalised = LayerNorm("layer_norm")(latents)
        hidden = Linear(self._widening * channels, name="linear_0")(normalised)
        hidden = save_for_backward(hidden, "hidden")
        return latents + Linear(channels, name="linear_1")(jax.nn.gelu(hidden))


class CrossAttend(hk.Module):
    """The latents attend to the byte array, followed by a dense block (Sec. 3.1, App. C).

    The attention inputs depend neither on the latents nor on the number of applications. They are
    computed from `projection`, once for a shared cross-attend.
    """

    def __init__(self, *, channels: int, heads: int, widening: int, name: str):
        """Takes the channels of queries, keys and values, the heads, and the dense widening."""
        super().__init__(name=name)
        self._channels = channels
        self._heads = heads
        self._widening = widening

    @hk.name_like("__call__")
    def projection(self, input_channels: int) -> Projection:
        """Returns the maps from normalised inputs of C channels to keys and values."""
        scale, offset = LayerNorm("layer_norm_inputs").parameters(input_channels)
        projections = []
        for name in ("key", "value"):
            w, b = Linear(self._channels, name=name).parameters(input_channels)
            projections += [
                _split_heads(scale[:, None] * w, self._heads),
                _split_heads(offset @ w + b, self._heads),
            ]
        return Projection(*projections)

    def __call__(self, latents: jax.Array, inputs: AttentionInputs) -> jax.Array:
        """Maps latents [B, N, D] to [B, N, D]."""
        attended = attend(self.queries(latents), inputs)
        latents += Linear(latents.shape[-1], name="output")(_merge_heads(attended))
        return Dense(self._widening)(save_for_backward(latents, "middle"))

    @hk.name_like("__call__")
    def queries(self, latents: jax.Array) -> jax.Array:
        """Returns the queries [B, N, H, K] of latents [B, N, D]."""
        query = Linear(self._channels, name="query")(LayerNorm("layer_norm_latents")(latents))
        return _split_heads(save_for_backward(query, "query"), self._heads)


class SelfAttend(hk.Module):
    """One layer of the latent Transformer: self-attention, then a dense block (App. C)."""

    def __init__(self, *, heads: int, widening: int, name: str):
        """Takes the number of heads and the dense widening."""
        super().__init__(name=name)
        self._heads = heads
        self._widening = widening

    def __call__(self, latents: jax.Array) -> jax.Array:
        """Maps [B, N, D] to [B, N, D]."""
        normalised = LayerNorm("layer_norm")(latents)

        def project(name):
            y = Linear(latents.shape[-1], name=name)(normalised)
            return _split_heads(save_for_backward(y, name), self._heads)

        query, key, value = map(project, ("query", "key", "value"))
        attended = attend(query, ProjectedInputs(key, value))
        latents += Linear(latents.shape[-1], name="output")(_merge_heads(attended))
        return Dense(self._widening)(save_for_backward(latents, "middle"))


class Tower(hk.Module):
    """A latent Transformer: self-attends with separate weights.

    Each layer stores its parameters under its own name, so initialisation, LAMB's layer-wise trust
    ratios and checkpoints are those of separate layers.
    """

    def __init__(self, *, layers: int, heads: int, widening: int, remat: dict | None, name: str):
        """Takes the number of layers, heads, dense widening, and a value of `REMAT`."""
        super().__init__(name=name)
        self._layers = layers
        self._make_layer = functools.partial(SelfAttend, heads=heads, widening=widening)
        self._remat = remat

    def __call__(self, latents: jax.Array) -> jax.Array:
        """Maps [B, N, D] to [B, N, D]; the program contains every layer."""
        for i in range(self._layers):
            layer = self._make_layer(name=f"self_attend_{i}")
            latents = rematerialise(layer, self._remat)(latents)
        return latents

    @hk.name_like("__call__")
    def looped(self, latents: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Returns a function equal to this module, with one loop over the layers.

        The program stays short for any number of layers. The loop needs stacked parameters, and
        stacking them and selecting those of each layer copies all of them. They are stacked in this
        call: make it outside any loop over towers.
        """
        layers = [self._make_layer(name=f"self_attend_{i}") for i in range(self._layers)]
        if hk.running_init():
            for module in layers:
                module(latents)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(_layer_parameters, layers))

        def layer(z):
            return self._make_layer(name=_LAYER)(z)

        apply = hk.transform(layer).apply

        def body(z, parameters):
            return apply(parameters, None, z), None

        body = rematerialise(body, self._remat, jax.checkpoint)
        return lambda z: jax.lax.scan(body, z, stacked)[0]


# The common module name of a tower's layers within its loop.
_LAYER = "layer"


def _layer_parameters(layer: hk.Module) -> hk.MutableParams:
    """Returns the parameters of a layer, {module: {name: array}}, with `_LAYER` as the root."""
    tree: hk.MutableParams = {}
    for path, array in layer.params_dict().items():
        inner, name = path.removeprefix(layer.module_name).rsplit("/", 1)
        tree.setdefault(_LAYER + inner, {})[name] = array
    return tree
