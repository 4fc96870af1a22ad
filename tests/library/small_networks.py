"""Small versions of configured networks, with random values for all parameters."""

import functools

import jax
import numpy as np

from perceiver import library, networks
from perceiver.library import named

_PERCEIVER = {"num_latents": 5, "latent_channels": 8, "self_heads": 2, "self_attends_per_tower": 1}

# A Perceiver, one with fused modalities, and a network with BatchNorm. Values: the config, sizes of
# the network, sizes of its inputs.
SMALL = {
    "image": ("digits", _PERCEIVER, {}),
    "sound_video": ("folder:sound_video", _PERCEIVER, {"image_size": 16, "clip_frames": 4}),
    "resnet": (
        "folder:resnet",
        {"blocks": (1, 1, 1, 1), "channels": (4, 4, 8, 8)},
        {"image_size": 32},
    ),
}


@functools.cache
def small(name):
    """Returns a network of `SMALL` with three classes and random parameters, even in the head."""
    config, model, data = SMALL[name]
    values = named.read_networks()[config]
    values = values | {"model": values["model"] | model, "data": values["data"] | data}
    network = networks.network(values["model"], values["data"], 3)
    batch = networks.batch_spec(values["model"], values["data"], 1)
    params, state = jax.eval_shape(network.init, jax.random.key(0), batch)
    draw = np.random.default_rng(7)

    def drawn(low, spec):
        return draw.uniform(low, 0.4, spec.shape).astype(spec.dtype)

    return library.Classifier(
        values,
        jax.tree.map(functools.partial(drawn, -0.4), params),
        jax.tree.map(functools.partial(drawn, 0.1), state),  # variances among them
        num_classes=3,
        class_names=("a dog", "Katze", "鳥"),
        step=1234,
    )


def examples(classifier, batch_size, seed=3):
    """Returns random inputs of a network."""
    draw = np.random.default_rng(seed)

    def drawn(spec):
        shape = (batch_size, *spec.shape)
        if spec.dtype == np.uint8:
            return draw.integers(0, 256, shape, np.uint8)
        return draw.normal(size=shape).astype(spec.dtype)

    return {name: drawn(spec) for name, spec in classifier.inputs.items()}
