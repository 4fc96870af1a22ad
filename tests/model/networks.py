"""Small networks for tests, their random parameters and inputs, and their expected outputs."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver.architecture import Architecture
from perceiver.byte_array import ByteArray
from perceiver.model import Perceiver
from tests.model import reference

# Different sizes, prime where heads allow it, so that confused dimensions cause errors.
SMALL = dict(
    num_latents=7,
    latent_channels=22,
    num_cross_attends=3,
    num_towers=3,
    self_attends_per_tower=2,
    self_heads=2,
    latent_init_scale=1.0,
)
CLASSES = 5


def network(sizes: dict | None = None, classes: int = CLASSES, **options):
    """Returns the transformed classifier, and encode(params, inputs, logits_of, latents_of)."""
    architecture = Architecture(**(SMALL | (sizes or {})))

    def perceiver():
        return Perceiver(architecture, classes, **options)

    def classify(inputs: ByteArray):
        return perceiver()(inputs)

    def encode(inputs: ByteArray, logits_of=(), latents_of=None):
        return perceiver().encode(inputs, logits_of, latents_of)

    classify = hk.without_apply_rng(hk.transform(classify))
    return classify, hk.without_apply_rng(hk.transform(encode)).apply


def parameters(transformed, inputs: ByteArray, seed: int = 0):
    """Returns random parameters, including biases, offsets, scales and head."""
    shapes = jax.eval_shape(transformed.init, jax.random.key(0), inputs)
    draw = np.random.default_rng(seed)

    def array(path, leaf):
        name = path[-1].key
        values = draw.normal(size=leaf.shape) / np.sqrt(leaf.shape[0])
        if name in ("b", "offset"):
            values = 0.1 * draw.normal(size=leaf.shape)
        if name == "scale":
            values = 1 + 0.1 * draw.normal(size=leaf.shape)
        if name == "latents":
            values = draw.normal(size=leaf.shape)
        return jnp.asarray(values, jnp.float32)

    return jax.tree_util.tree_map_with_path(array, shapes)


def byte_array(batch=2, num_inputs=53, content=3, positions=10, seed=1, mask=None) -> ByteArray:
    """Returns a random byte array whose positions the batch shares."""
    draw = np.random.default_rng(seed)
    return ByteArray(
        jnp.asarray(draw.normal(size=(batch, num_inputs, content)), jnp.float32),
        jnp.asarray(draw.uniform(-1, 1, size=(num_inputs, positions)), jnp.float32),
        mask,
    )


def plain(inputs: ByteArray, example: int) -> np.ndarray:
    """Returns one example of the concatenated byte array, float64 [M, C]."""
    positions = np.float64(inputs.position_array())
    if positions.ndim == 3:
        positions = positions[example]
    return np.concatenate([np.float64(inputs.content[example]), positions], -1)


def order(sizes: dict) -> list[str]:
    """Returns the modules of a network in order, according to Sec. 3.1 and Table 6."""
    crosses, towers = sizes["num_cross_attends"], sizes["num_towers"]
    shared_crosses = sizes.get("share_cross_attends", True)
    shared_towers = sizes.get("share_towers", True)
    names = []
    spacing = towers / crosses
    done = 0
    for c in range(crosses):
        names.append(f"cross_attend_{min(c, 1) if shared_crosses else c}")
        if sizes.get("cross_attends_at_start") and c < crosses - 1:
            continue
        end = towers if c == crosses - 1 else int(np.floor((c + 1) * spacing))
        names += [f"tower_{0 if shared_towers else t}" for t in range(done, end)]
        done = end
    return names


def expected(params, inputs: ByteArray, sizes: dict, **options):
    """Returns logits and attention logits of `reference.perceiver` for each example."""
    sizes = SMALL | sizes
    return [
        reference.perceiver(
            params,
            plain(inputs, b),
            order(sizes),
            sizes["self_attends_per_tower"],
            cross_heads=sizes.get("cross_heads", 1),
            self_heads=sizes["self_heads"],
            mask=None if inputs.mask is None else np.asarray(inputs.mask[b]),
            **options,
        )
        for b in range(len(inputs.content))
    ]
