"""The sections and keys that every config has, with the defaults that the paper prints.

Durations are in steps or in epochs (`_epochs`). If both are set, the steps take precedence, so that
`--config.train.steps=100` shortens any run.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import choices, models


class Variant(NamedTuple):
    """A variant of a config.

    Attributes:
      description: Description in one line.
      overrides: Values by flat key that differ from the config's base values.
      rows: Printed name of the variant's row in a table of the paper, by number of the table.
      measured: Result of a run with this project; '' if there was none.
    """

    description: str
    overrides: Mapping[str, Any] = MappingProxyType({})
    rows: Mapping[int, str] = MappingProxyType({})
    measured: str = ""


def base() -> ConfigDict:
    """Keys of every config."""
    config = ConfigDict()

    config.model = models.perceiver()

    config.optimizer = ConfigDict()
    config.optimizer.name = "lamb"  # optimiser: lamb, adamw or sgd
    config.optimizer.learning_rate = placeholder(float)  # learning rate after the warm-up
    config.optimizer.schedule = "constant"  # learning rate schedule: constant, step or cosine
    # Length in steps of the linear rise of the learning rate from 0. Do not use it with lamb, which
    # moves each array in proportion to its size: the head starts at zero and would keep the tiny
    # size that its first step gives it.
    config.optimizer.warmup_steps = placeholder(int)
    config.optimizer.warmup_epochs = placeholder(float)  # length of that rise in epochs
    # Coefficient of weight decay, for the weights of linear layers and convolutions; 0 for none.
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_norm = 0.0  # largest norm of the whole gradient; 0 for no clipping
    for name in ("name", "schedule"):
        choices.choose(config, f"optimizer.{name}", config.optimizer[name])

    config.train = ConfigDict()
    # Examples per step, over all hosts and devices.
    config.train.batch_size = placeholder(int)
    config.train.steps = placeholder(int)  # length of the run in steps
    config.train.epochs = placeholder(float)  # length of the run in epochs, if `steps` is not set
    config.train.seed = 0  # seed of the initial parameters, the order of examples and augmentation
    # Largest fraction of unreadable examples that each process skips before the run ends.
    config.train.max_unreadable = 0.001
    # Number of parts of a device's batch whose gradients are averaged before a step; BatchNorm uses
    # the statistics of each part.
    config.train.accumulate = 1
    config.train.loss = "softmax"  # softmax for one label per example, sigmoid for several
    config.train.label_smoothing = 0.0  # smoothing of the labels, below 1; softmax only
    # Decay of the moving average of the parameters, which evaluation uses; 0 for no average.
    config.train.ema_decay = 0.0
    config.train.log_every = 100  # steps between log lines; 0 for none
    config.train.eval_every = placeholder(int)  # steps between evaluations; 0 for none
    config.train.eval_every_epochs = placeholder(float)  # epochs between evaluations
    config.train.checkpoint_every = placeholder(int)  # steps between checkpoints; 0 for none
    config.train.checkpoint_every_epochs = placeholder(float)  # epochs between checkpoints
    # Number of newest checkpoints that are saved, in addition to the best.
    config.train.keep_checkpoints = 2

    config.eval = ConfigDict()
    # Examples per evaluation step, over all hosts and devices.
    config.eval.batch_size = placeholder(int)
    config.eval.checkpoint = "newest"  # checkpoint to evaluate: newest, best or a step
    return config


def override(config: ConfigDict, values: Mapping[str, Any]) -> None:
    """Sets values by flat key, first those that choose a network or another record.

    Raises:
      ValueError: an unknown key, or a value that chooses no record.
    """
    values = dict(values)
    if "model.name" in values:
        models.set_network(config, values.pop("model.name"))
    for key in choices.choice_keys(config):
        if key in values:
            choices.choose(config, key, values.pop(key))
    for key, value in values.items():
        section, name = choices.section_of(config, key)
        if name not in section:
            raise ValueError(f"unknown key {key!r}")
        section[name] = value


def check_variant(variant: str, variants: Mapping[str, Any]) -> None:
    """Checks that a config has a variant.

    Raises:
      ValueError: the variant is unknown; the message names the nearest one.
    """
    if variant not in variants:
        raise ValueError(choices.unknown(variant, variants, what="variant"))
