"""Small untrained networks for attention maps, and their logits in NumPy."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config_files import load_config
from perceiver import networks
from perceiver.library import Classifier
from tests.model import reference
from tests.processes import ROOT

SMALL = dict(num_latents=6, latent_channels=12, self_heads=2, self_attends_per_tower=1)
CLIP_FRAMES = 4
PATCH = (2, 4, 4)  # as in the paper's attention maps of video


def network(spec, data=None, inputs=None, **model):
    """Returns a small classifier of `configs/SPEC` with random parameters."""
    config = load_config(f"{ROOT}/configs/{spec}")
    for key, value in ({} if "resnet" in spec else SMALL).items():
        config.model[key] = value
    for key, value in model.items():
        config.model[key] = value
    for key, value in (data or {}).items():
        config.data[key] = value
    for modality, values in (inputs or {}).items():
        config.model.inputs[modality].update(values)
    values = json.loads(config.to_json_best_effort())  # in the form of config.json
    built = networks.network(values["model"], values["data"], 10)
    spec = networks.batch_spec(values["model"], values["data"], 1)
    draw = np.random.default_rng(0)

    def random(path, leaf):
        values = draw.normal(size=leaf.shape)
        if path[-1].key == "scale":
            values = 1 + 0.1 * values
        elif path[-1].key != "latents":
            values /= np.sqrt((leaf.shape or [1])[0])
        return jnp.asarray(values, leaf.dtype)

    shapes = jax.eval_shape(built.init, jax.random.key(0), spec)
    params, state = jax.tree_util.tree_map_with_path(random, shapes)
    names = [f"class {i}" for i in range(10)]
    return Classifier(values, params, state, num_classes=10, class_names=names)


def clips(spec="folder.py:sound_video", **model):
    """Returns a classifier of sound and video: 60 patches of samples, and 2 x 2 x 2 of video."""
    return network(
        spec,
        dict(clip_frames=CLIP_FRAMES, image_size=8, spec_time_width=4),
        dict(video=dict(patch=PATCH, bands=2)),
        **model,
    )


def example(classifier, seed=0):
    """Returns random arrays of one example by modality."""
    draw = np.random.default_rng(seed)

    def array(spec):
        if jnp.issubdtype(spec.dtype, jnp.integer):
            bounds = jnp.iinfo(spec.dtype)
            return draw.integers(bounds.min, bounds.max + 1, spec.shape).astype(spec.dtype)
        return draw.uniform(-0.7, 0.7, spec.shape).astype(spec.dtype)

    return {name: array(spec) for name, spec in classifier.inputs.items()}


def positions(options, *shape):
    """Returns the Fourier features of a grid (Sec. 3.2), float64 [M, C]."""
    resolution = options["max_resolution"] or shape
    return reference.fourier_features(reference.grid(*shape), options["bands"], resolution)


def byte_array(classifier, inputs):
    """Returns content and positions of one example's inputs, before any permutation."""
    parts, vectors = [], []
    for modality, array in inputs.items():
        options = classifier.model["inputs"][modality]
        if modality == "image":
            grid = array.shape[:2]
            content = (array / 255 - options["mean"]) / options["std"]
        elif modality == "audio":
            grid = (len(array) // options["patch"],)
            content = array / 32768
        else:
            assert modality == "video"
            grid = [size // part for size, part in zip(array.shape, PATCH, strict=False)]
            video = (array / 255 - options["mean"]) / options["std"]
            content = np.stack(
                [
                    video[2 * t : 2 * t + 2, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].ravel()
                    for t in range(grid[0])
                    for y in range(grid[1])
                    for x in range(grid[2])
                ]
            )
        content = content.reshape(np.prod(grid), -1)
        parts.append(np.concatenate([content, positions(options, *grid)], axis=-1))
        if len(inputs) > 1:
            vectors.append(classifier.params[f"{modality}_encoding"]["encoding"])
    return reference.fused(parts, vectors) if vectors else parts[0]


def expected_logits(classifier, inputs):
    """Returns the attention logits [H, N, M] of each cross-attend, in NumPy float64."""
    model = classifier.model
    assert model["num_cross_attends"] == model["num_towers"] == 2
    _, maps = reference.perceiver(
        classifier.params,
        byte_array(classifier, inputs),
        ["cross_attend_0", "tower_0", "cross_attend_1", "tower_0"],
        model["self_attends_per_tower"],
        cross_heads=model["cross_heads"],
        self_heads=model["self_heads"],
        unrolled=model["unrolled"],
    )
    return maps
