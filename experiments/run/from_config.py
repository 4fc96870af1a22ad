"""Builds everything that a config decides, as one record; building the record validates the config.

Nothing outside `experiments/` sees a config: library functions get plain values and keyword
arguments. A value that cannot work raises an InputError here, before data are loaded and before
anything is compiled.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.cli.config_files import flatten
from perceiver import networks
from perceiver.costs import Cost, total
from perceiver.data.dataset import Dataset, Source
from perceiver.errors import InputError
from perceiver.training.durations import to_interval, to_steps
from perceiver.training.objectives import Objective, make_objective
from perceiver.training.optimizer import make_optimizer
from perceiver.training.parallel import AXIS
from perceiver.training.schedules import learning_rate
from perceiver.training.step import TrainState, Variables, init_state, make_train_step

# Steps of an epoch that durations are validated with before the data set's size is known.
_NOMINAL_STEPS_PER_EPOCH = 1_000_000

# Lowest allowed values, for the configs that have these keys.
_LOWEST = {
    "data.image_size": 1,
    "data.channels": 1,
    "data.num_points": 1,
    "data.clip_frames": 1,
    "data.mel_hop": 1,
    "data.mel_bins": 1,
    "data.num_classes": 1,
    "train.batch_size": 1,
    "train.accumulate": 1,
    "train.log_every": 0,
    "train.keep_checkpoints": 1,
    "eval.batch_size": 1,
}

# Keys of the section `optimizer` that every optimiser and schedule has, and those of schedules. The
# other keys belong to the chosen optimiser.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a config decides about a run.

    Attributes:
      config: The config.
      num_classes: Number of outputs of the network; once the data set is loaded, its number of
        classes.
      modalities: Inputs of the network, in the order in which they are fused.
      network: `init(rng, batch)` and `apply(params, state, rng, batch, is_training)`; training
        needs the mapped axis of devices.
      costs: Parameters and FLOPs of each part of the network.
      objective: Loss and metrics of training.
      eval_objective: Loss and metrics of evaluation, without label smoothing.
      optimizer: Gradient transformation.
      schedule: Learning rate as a function of the step.
      total_steps: Length of the run.
      eval_every: Steps between evaluations; None for never.
      checkpoint_every: Steps between checkpoints; None for never.
    """

    config: ConfigDict
    num_classes: int
    modalities: tuple[str, ...]
    network: hk.TransformedWithState
    costs: tuple[Cost, ...]
    objective: Objective
    eval_objective: Objective
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    total_steps: int
    eval_every: float | None
    checkpoint_every: float | None

    @property
    def total_cost(self) -> Cost:
        """The parameters and FLOPs of the whole network."""
        return total(list(self.costs))

    def batch_spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns shapes and dtypes of the network's inputs for a batch."""
        return networks.batch_spec(*_sections(self.config), batch_size)

    def predict(self, variables: Variables, batch: dict[str, jax.Array]) -> jax.Array:
        """Computes the class logits of a batch in evaluation, float32 [B, num_classes]."""
        return self.network.apply(variables.params, variables.state, None, batch, False)[0]

    def initial_variables(self) -> Variables:
        """Returns the variables before the first step, a function of the config's seed."""
        batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self.batch_spec(1))
        return Variables(*self.network.init(jax.random.key(self.config.train.seed), batch))

    def initial_state(self) -> TrainState:
        """Returns the training state before the first step."""
        return init_state(
            self.initial_variables(), self.optimizer, ema=self.config.train.ema_decay > 0
        )

    def train_step(self) -> Callable:
        """Returns the training step, to be mapped over devices; see `make_train_step`."""
        train = self.config.train
        return make_train_step(
            self.network.apply,
            self.optimizer,
            self.schedule,
            objective=self.objective,
            seed=train.seed,
            ema_decay=train.ema_decay,
            accumulate=train.accumulate,
            axis=AXIS,
        )

    def with_data(self, dataset: Dataset) -> "Experiment":
        """Returns the record with the classes and the durations in steps of a loaded data set.

        Raises:
          InputError: The network or the loss does not take the data (see `check_data`), or a
            duration does not fit the number of examples.
        """
        check_data(self, dataset)
        classes = len(dataset.class_names)
        found = {} if classes == self.num_classes else _network(self.config, classes)
        steps_per_epoch = dataset.train.num_examples / self.config.train.batch_size
        return dataclasses.replace(self, **found, **_optimization(self.config, steps_per_epoch))


def from_config(
    config: ConfigDict, *, num_classes: int | None = None, num_examples: int | None = None
) -> Experiment:
    """Builds and thereby validates everything that a config decides.

    Args:
      config: The config.
      num_classes: Classes of the data set; None for the config's nominal number.
      num_examples: Size of the training split, which durations in epochs depend on; None takes a
        nominal size until `Experiment.with_data` replaces it.

    Raises:
      InputError: A value is out of range, or values do not fit together.
    """
    check_numbers(config)
    smoothing = config.train.label_smoothing
    steps_per_epoch = _NOMINAL_STEPS_PER_EPOCH
    if num_examples is not None:
        steps_per_epoch = num_examples / config.train.batch_size
    return Experiment(
        config=config,
        modalities=tuple(networks.modalities_of(config.model.to_dict())),
        **_network(config, num_classes or config.data.num_classes),
        objective=make_objective(config.train.loss, label_smoothing=smoothing),
        eval_objective=make_objective(config.train.loss, label_smoothing=0.0),
        **_optimization(config, steps_per_epoch),
    )


def data_options(config: ConfigDict) -> dict[str, Any]:
    """Returns the arguments of `perceiver.data.registry.load`: the section `data`.

    `num_classes` is left out, because the data set determines it.
    """
    options = config.data.to_dict()
    del options["num_classes"]
    return options


def check_numbers(config: ConfigDict) -> None:
    """Checks single numbers of a config, without using a device.

    Raises:
      InputError: A number is out of range.
    """
    values = dict(flatten(config))
    for key, lowest in _LOWEST.items():
        if key in values and (values[key] is None or values[key] < lowest):
            raise InputError(f"config.{key}={values[key]}; give at least {lowest}")
    if not 0 <= config.train.ema_decay < 1:
        raise InputError(
            f"config.train.ema_decay={config.train.ema_decay}; give at least 0 and below 1"
        )
    if not -(2**63) <= config.train.seed < 2**63:
        raise InputError(f"config.train.seed={config.train.seed}; give a 64-bit integer")


def check_batch(config: ConfigDict) -> None:
    """Checks that devices and accumulation divide the training batch.

    Raises:
      InputError: They do not.
    """
    batch_size, accumulate = config.train.batch_size, config.train.accumulate
    parts = jax.device_count() * accumulate
    if batch_size % parts:
        by = f"{jax.device_count()} devices" + (
            f" times config.train.accumulate={accumulate}" if accumulate > 1 else ""
        )
        raise InputError(
            f"config.train.batch_size={batch_size} is not divisible among {by}; "
            f"take a multiple of {parts}"
        )


def check_data(experiment: Experiment, dataset: Dataset) -> None:
    """Checks with one example that the network and the loss accept the features of a data set.

    Raises:
      InputError: The data set has a single class, other inputs or labels, or inputs of other
        sizes; or the example cannot be read.
    """
    config = experiment.config
    name, loss = config.data.name, config.train.loss
    if len(dataset.class_names) == 1 and loss == "softmax":
        raise InputError(
            f"data set {name!r} has one class alone, {dataset.class_names[0]!r}: there "
            "is nothing to distinguish; give a folder with at least two class folders"
        )
    first = dataclasses.replace(dataset.eval, num_examples=1)
    example = next(first.eval_batches(batch_size=1))
    wanted = [(modality, "network") for modality in experiment.modalities]
    for feature, reader in (*wanted, (experiment.objective.label, f"{loss} loss")):
        if feature not in example:
            given = ", ".join(key for key in example if key not in ("index", "mask"))
            raise InputError(f"data set {name!r} gives {given}; the {reader} takes {feature}")
    for modality, spec in experiment.batch_spec(1).items():
        if modality not in experiment.modalities:
            continue
        given = example[modality][0, 0] if first.eval_windows else example[modality][0]
        if (given.shape, given.dtype) != (spec.shape[1:], spec.dtype):
            raise InputError(
                f"data set {name!r} gives {modality} {given.dtype} {list(given.shape)}; "
                f"the network takes {spec.dtype} {list(spec.shape[1:])}"
            )


def training_batches(
    config: ConfigDict,
    source: Source,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
):
    """Returns the training stream of a config; see `Source.train_batches`."""
    return source.train_batches(
        batch_size=batch_size,
        seed=config.train.seed,
        process_index=process_index,
        process_count=process_count,
        max_unreadable=config.train.max_unreadable,
    )


def _sections(config: ConfigDict) -> tuple[dict, dict]:
    return config.model.to_dict(), config.data.to_dict()


def _network(config: ConfigDict, num_classes: int) -> dict[str, Any]:
    """Returns the attributes of a record that depend on the number of classes."""
    sections = _sections(config)
    return {
        "num_classes": num_classes,
        "network": networks.network(*sections, num_classes, axis=AXIS),
        "costs": tuple(networks.costs(*sections, num_classes)),
    }


def _optimization(config: ConfigDict, steps_per_epoch: float) -> dict[str, Any]:
    """Returns the attributes of a record that depend on the length of an epoch in steps."""
    train, values = config.train, config.optimizer.to_dict()

    def in_steps(steps: int | None, epochs: float | None) -> int | None:
        return to_steps(steps=steps, epochs=epochs, steps_per_epoch=steps_per_epoch)

    def interval(name: str) -> float | None:
        steps, epochs = train[name], train[f"{name}_epochs"]
        return to_interval(steps=steps, epochs=epochs, steps_per_epoch=steps_per_epoch)

    total_steps = in_steps(train.steps, train.epochs)
    if not total_steps:
        raise InputError("the run has no length: set config.train.steps or config.train.epochs")
    own = {key: value for key, value in values.items() if key not in _SHARED}
    of_schedule = {key: own.pop(key) for key in _OF_SCHEDULES if key in own}
    if "boundaries_epochs" in of_schedule:
        epochs = of_schedule.pop("boundaries_epochs")
        of_schedule["boundaries"] = tuple(of_schedule["boundaries"]) or tuple(
            in_steps(None, epoch) for epoch in epochs
        )
    schedule = learning_rate(
        values["schedule"],
        base=values["learning_rate"],
        total_steps=total_steps,
        warmup_steps=in_steps(values["warmup_steps"], values["warmup_epochs"]) or 0,
        **of_schedule,
    )
    optimizer = make_optimizer(
        values["name"],
        learning_rate=schedule,
        weight_decay=values["weight_decay"],
        clip_norm=values["clip_norm"],
        **own,
    )
    return {
        "schedule": schedule,
        "optimizer": optimizer,
        "total_steps": total_steps,
        "eval_every": interval("eval_every"),
        "checkpoint_every": interval("checkpoint_every"),
    }
