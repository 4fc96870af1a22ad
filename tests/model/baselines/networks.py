"""Small baselines for tests, and their random parameters."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver.baselines.encoder import Encoder
from perceiver.baselines.resnet import ResNet
from perceiver.baselines.transformer import Transformer
from perceiver.baselines.vit import ViT
from perceiver.byte_array import ByteArray

CLASSES = 5
LAYERS = dict(channels=22, layers=2, heads=2, widening=3, dtype="float32", remat="none")
PATCHES = dict(patch=3, grid=(7, 11))
RESNET = dict(grid=(31, 37), blocks=(2, 1, 1, 1), channels=(12, 20, 28, 44), axis=None)


def transformer(classes=CLASSES, **sizes):
    def forward(inputs):
        return Transformer(classes, Encoder(**(LAYERS | sizes)))(inputs)

    return hk.without_apply_rng(hk.transform(forward))


def vit(classes=CLASSES, **sizes):
    def forward(inputs):
        patches = {key: sizes.get(key, value) for key, value in PATCHES.items()}
        layers = {key: value for key, value in sizes.items() if key not in PATCHES}
        return ViT(classes, Encoder(**(LAYERS | layers)), **patches)(inputs)

    return hk.without_apply_rng(hk.transform(forward))


def resnet(classes=CLASSES, **sizes):
    def forward(inputs, is_training):
        return ResNet(classes, **(RESNET | sizes))(inputs, is_training)

    return hk.without_apply_rng(hk.transform_with_state(forward))


def randomised(shapes, seed=0):
    """Returns random parameters, including biases, offsets, scales and head."""
    draw = np.random.default_rng(seed)

    def array(path, leaf):
        values = draw.normal(size=leaf.shape)
        name = path[-1].key
        if name == "w":
            values /= np.sqrt(np.prod(leaf.shape[:-1]))
        elif name == "scale":
            values = 1 + 0.1 * values
        elif name in ("b", "offset"):
            values *= 0.1
        return jnp.asarray(values, jnp.float32)

    return jax.tree_util.tree_map_with_path(array, shapes)


def parameters(transformed, inputs: ByteArray):
    """Returns random parameters of a network without state."""
    return randomised(jax.eval_shape(transformed.init, jax.random.key(0), inputs))


def resnet_variables(transformed, inputs: ByteArray):
    """Returns random parameters of a ResNet, and its state before the first step."""
    params, state = jax.eval_shape(lambda: transformed.init(jax.random.key(0), inputs, True))
    return randomised(params), jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state)


def number_of_parameters(transformed, grid, channels, *arguments):
    """Counts the parameters of a network from their shapes."""
    spec = jax.ShapeDtypeStruct((1, grid[0] * grid[1], channels), jnp.float32)
    none = jax.ShapeDtypeStruct((grid[0] * grid[1], 0), jnp.float32)

    def init(content, positions):
        made = transformed.init(jax.random.key(0), ByteArray(content, positions), *arguments)
        return made[0] if arguments else made

    return sum(x.size for x in jax.tree.leaves(jax.eval_shape(init, spec, none)))
