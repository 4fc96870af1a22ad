"""From a config to the parts of a run; nothing beyond this folder sees a config.

What a config asks for and can't be had is a `UserError` here, before anything is compiled.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import haiku as hk
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.command_line import UserError
from perceiver.architecture import Architecture
from perceiver.byte_array import ByteArray
from perceiver.costs import Cost, perceiver_costs
from perceiver.modalities import (
    audio_bytes,
    image_bytes,
    point_bytes,
    spectrogram_bytes,
    video_bytes,
)
from perceiver.model import Perceiver
from perceiver.names import unknown
from perceiver.permutations import permuted
from perceiver.training.durations import to_interval, to_steps
from perceiver.training.objectives import Objective, make_objective
from perceiver.training.optimizer import make_optimizer
from perceiver.training.schedules import learning_rate
from perceiver.training.step import TrainState, init_state

if TYPE_CHECKING:
    from perceiver.data.pipeline import TrainIterator
    from perceiver.data.source import Source

MODALITIES = {
    "image": image_bytes,
    "points": point_bytes,
    "audio": audio_bytes,
    "spectrogram": spectrogram_bytes,
    "video": video_bytes,
}
# What their shapes depend on in `config.data`.
_SIZES = {
    "image": ("image_size", "channels"),
    "points": ("num_points",),
    "audio": ("clip_frames",),
    "spectrogram": ("clip_frames", "mel_hop", "mel_bins"),
    "video": ("clip_frames", "image_size"),
}
_SAMPLES_PER_FRAME = 1920  # 48 kHz over 25 frames a second, as clips are prepared

_ARCHITECTURE_KEYS = [field.name for field in dataclasses.fields(Architecture)]


def model(config: ConfigDict, num_classes: int) -> hk.Transformed:
    """The network: class logits [B, classes] of a batch such as `batch_spec` describes.

    Raises:
      UserError: sizes that do not fit together.
    """

    def forward(batch):
        network = Perceiver(
            architecture(config),
            num_classes,
            dtype=config.model.dtype,
            remat=config.model.remat,
        )
        return network(byte_array(config, batch))

    transformed = hk.without_apply_rng(hk.transform(forward))
    _checked(jax.eval_shape, transformed.init, jax.random.key(0), batch_spec(config, 1))
    return transformed


def architecture(config: ConfigDict) -> Architecture:
    """The sizes of the network."""
    return _checked(Architecture, **{key: config.model[key] for key in _ARCHITECTURE_KEYS})


def byte_array(config: ConfigDict, batch: dict[str, jax.Array]) -> ByteArray:
    """The network's inputs, inside a Haiku transform."""
    modality = modality_of(config)
    inputs = MODALITIES[modality](batch[modality], **config.model.inputs[modality])
    return permuted(
        inputs, config.model.permutation, config.model.permutation_seed, batch.get("index")
    )


def modality_of(config: ConfigDict) -> str:
    """The one modality that the network takes."""
    modalities = list(config.model.inputs)
    if len(modalities) != 1:
        raise UserError(f"config.model.inputs has {modalities}; the network takes one modality")
    if modalities[0] not in MODALITIES:
        raise UserError(unknown(modalities[0], MODALITIES, what="modality"))
    return modalities[0]


def batch_spec(config: ConfigDict, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what the network takes of a training batch, as the config has them.

    Raises:
      UserError: the config's data have no such sizes.
    """
    data, modality = config.data, modality_of(config)
    for key in _SIZES[modality]:
        if key not in data:
            raise UserError(f"config.data has no {key}, which a network for {modality} goes by")
    if modality == "image":
        shape, dtype = (data.image_size, data.image_size, data.channels), jnp.uint8
    elif modality == "points":
        shape, dtype = (data.num_points, 3), jnp.float32
    elif modality == "audio":
        shape, dtype = (data.clip_frames * _SAMPLES_PER_FRAME,), jnp.int16
    elif modality == "spectrogram":
        frames = -(-data.clip_frames * _SAMPLES_PER_FRAME // data.mel_hop)
        shape, dtype = (frames, data.mel_bins), jnp.float16
    else:
        shape, dtype = (data.clip_frames, data.image_size, data.image_size, 3), jnp.uint8
    return {
        modality: jax.ShapeDtypeStruct((batch_size, *shape), dtype),
        "index": jax.ShapeDtypeStruct((batch_size,), jnp.int32),
    }


def costs(config: ConfigDict, num_classes: int) -> list[Cost]:
    """Parameters and FLOPs of the network, part by part."""
    shapes = hk.transform(lambda batch: byte_array(config, batch))
    inputs = _checked(
        jax.eval_shape,
        lambda batch: shapes.apply(shapes.init(jax.random.key(0), batch), None, batch),
        batch_spec(config, 1),
    )
    learned = config.model.inputs[modality_of(config)].get("positions") == "learned"
    return perceiver_costs(
        architecture(config),
        num_inputs=inputs.content.shape[1],
        input_channels=inputs.channels,
        num_classes=num_classes,
        learned_positions=inputs.positions.shape[-1] if learned else 0,
    )


def total_steps(config: ConfigDict, num_examples: int) -> int:
    """The run's length, given how many training examples there are."""
    steps = _checked(
        to_steps,
        steps=config.train.steps,
        epochs=config.train.epochs,
        steps_per_epoch=num_examples / config.train.batch_size,
    )
    if not steps:
        raise UserError("the run has no length: set config.train.steps or config.train.epochs")
    return steps


def interval(config: ConfigDict, name: str, num_examples: int) -> float | None:
    """The steps between what `config.train` does every so often, None for never."""
    return _checked(
        to_interval,
        steps=config.train[name],
        epochs=config.train[f"{name}_epochs"],
        steps_per_epoch=num_examples / config.train.batch_size,
    )


def optimizer(
    config: ConfigDict, num_examples: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimiser and its learning rate by step."""
    values = config.optimizer
    steps_per_epoch = num_examples / config.train.batch_size

    def in_steps(steps, epochs):
        return _checked(to_steps, steps=steps, epochs=epochs, steps_per_epoch=steps_per_epoch)

    schedule = _checked(
        learning_rate,
        name=values.schedule,
        base=values.learning_rate,
        total_steps=total_steps(config, num_examples),
        warmup_steps=in_steps(values.warmup_steps, values.warmup_epochs) or 0,
        boundaries=tuple(values.boundaries)
        or tuple(in_steps(None, epoch) for epoch in values.boundaries_epochs),
        factor=values.factor,
    )
    transformation = _checked(
        make_optimizer,
        name=values.name,
        learning_rate=schedule,
        weight_decay=values.weight_decay,
        b1=values.b1,
        b2=values.b2,
        eps=values.eps,
        momentum=values.momentum,
        clip_norm=values.clip_norm,
    )
    return transformation, schedule


def objective(config: ConfigDict, *, training: bool) -> Objective:
    """Loss and metrics; labels are smoothed in training only."""
    smoothing = config.train.label_smoothing
    made = _checked(make_objective, config.train.loss, label_smoothing=smoothing)
    return made if training else make_objective(config.train.loss, label_smoothing=0.0)


def initial_state(
    config: ConfigDict, network: hk.Transformed, optimizer: optax.GradientTransformation
) -> TrainState:
    """The state before the first step, from the config's seed alone."""
    batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), batch_spec(config, 1))
    params = network.init(jax.random.key(config.train.seed), batch)
    return init_state(params, optimizer, ema=config.train.ema_decay > 0)


def data_options(config: ConfigDict) -> dict[str, Any]:
    """What `perceiver.data.registry.load` takes: the section `data` without what is nominal."""
    options = config.data.to_dict()
    del options["num_classes"]
    return options


def train_iterator(
    config: ConfigDict,
    source: "Source",
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> "TrainIterator":
    """The training stream of a config; see `perceiver.data.pipeline.train_iterator`."""
    from perceiver.data import pipeline  # TensorFlow only where there are data

    return _checked(
        pipeline.train_iterator,
        source,
        batch_size=batch_size,
        seed=config.train.seed,
        process_index=process_index,
        process_count=process_count,
        max_unreadable=config.train.max_unreadable,
    )


def _checked(function: Callable, *args, **kwargs) -> Any:
    """Calls a library function; a value that it refuses is the config's."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error
