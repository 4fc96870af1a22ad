"""From a config to the parts of a run but its network; nothing beyond this folder sees a config.

What a config asks for and can't be had is an `InputError` here, before anything is compiled.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import haiku as hk
import optax
from ml_collections import ConfigDict

from experiments.run.networks import initial_variables
from perceiver.errors import InputError
from perceiver.training.durations import to_interval, to_steps
from perceiver.training.objectives import Objective, make_objective
from perceiver.training.optimizer import make_optimizer
from perceiver.training.parallel import AXIS
from perceiver.training.schedules import learning_rate
from perceiver.training.step import TrainState, init_state, make_train_step

if TYPE_CHECKING:
    from perceiver.data.source import Source
    from perceiver.data.stream.batches import TrainIterator


# Keys of `config.optimizer` that every optimiser and schedule has, and those of some schedules.
_SHARED = (
    "name",
    "schedule",
    "learning_rate",
    "warmup_steps",
    "warmup_epochs",
    "weight_decay",
    "clip_norm",
)
_OF_SCHEDULES = ("boundaries", "boundaries_epochs", "factor")


def total_steps(config: ConfigDict, num_examples: int) -> int:
    """The run's length, given how many training examples there are."""
    steps = to_steps(
        steps=config.train.steps,
        epochs=config.train.epochs,
        steps_per_epoch=num_examples / config.train.batch_size,
    )
    if not steps:
        raise InputError("the run has no length: set config.train.steps or config.train.epochs")
    return steps


def interval(config: ConfigDict, name: str, num_examples: int) -> float | None:
    """The steps between what `config.train` does every so often, None for never."""
    return to_interval(
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
        return to_steps(steps=steps, epochs=epochs, steps_per_epoch=steps_per_epoch)

    own = {key: value for key, value in values.items() if key not in _SHARED}
    of_schedule = {key: own.pop(key) for key in _OF_SCHEDULES if key in own}
    if "boundaries_epochs" in of_schedule:
        epochs = of_schedule.pop("boundaries_epochs")
        of_schedule["boundaries"] = tuple(of_schedule["boundaries"]) or tuple(
            in_steps(None, epoch) for epoch in epochs
        )
    schedule = learning_rate(
        values.schedule,
        base=values.learning_rate,
        total_steps=total_steps(config, num_examples),
        warmup_steps=in_steps(values.warmup_steps, values.warmup_epochs) or 0,
        **of_schedule,
    )
    transformation = make_optimizer(
        values.name,
        learning_rate=schedule,
        weight_decay=values.weight_decay,
        clip_norm=values.clip_norm,
        **own,
    )
    return transformation, schedule


def objective(config: ConfigDict, *, training: bool) -> Objective:
    """Loss and metrics; labels are smoothed in training only."""
    smoothing = config.train.label_smoothing
    made = make_objective(config.train.loss, label_smoothing=smoothing)
    return made if training else make_objective(config.train.loss, label_smoothing=0.0)


def train_step(
    config: ConfigDict,
    network: hk.TransformedWithState,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    objective: Objective,
) -> Callable:
    """The training step, to be mapped over devices; see `make_train_step`."""
    return make_train_step(
        network.apply,
        optimizer,
        schedule,
        objective=objective,
        seed=config.train.seed,
        ema_decay=config.train.ema_decay,
        accumulate=config.train.accumulate,
        axis=AXIS,
    )


def initial_state(
    config: ConfigDict,
    network: hk.TransformedWithState,
    optimizer: optax.GradientTransformation,
) -> TrainState:
    """The state before the first step, from the config's seed alone."""
    variables = initial_variables(network, config)
    return init_state(variables, optimizer, ema=config.train.ema_decay > 0)


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
    """The training stream of a config; see `perceiver.data.stream.batches.train_iterator`."""
    from perceiver.data.stream import batches  # TensorFlow only where there are data

    return batches.train_iterator(
        source,
        batch_size=batch_size,
        seed=config.train.seed,
        process_index=process_index,
        process_count=process_count,
        max_unreadable=config.train.max_unreadable,
    )
