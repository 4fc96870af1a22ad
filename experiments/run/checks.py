"""What a config asks for and can't be had is refused here, in the order in which it shows.

`check` looks at the config alone, `check_batch` at the devices too, `check_data` at the data.
"""

import dataclasses
from typing import TYPE_CHECKING

import jax
from ml_collections import ConfigDict

from experiments.cli.config_files import flatten
from experiments.run import build, networks
from perceiver.errors import InputError

if TYPE_CHECKING:
    from perceiver.data.dataset import Dataset

# The lowest that numbers of a config may be, where it has them.
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


def check(config: ConfigDict) -> None:
    """Refuses what can't be built, as far as it shows without the data."""
    check_numbers(config)
    networks.network(config, config.data.num_classes)
    build.objective(config, training=True)
    # How long an epoch is shows with the data only; long enough for any schedule will do here.
    build.optimizer(config, num_examples=1_000_000 * config.train.batch_size)


def check_numbers(config: ConfigDict) -> None:
    """Refuses numbers that nothing can be made of; it asks for no device."""
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


def check_data(config: ConfigDict, dataset: "Dataset") -> None:
    """Refuses data that the network or the loss does not take, by a look at one example.

    Raises:
      InputError: the data have one class, other inputs or labels, or inputs of other sizes.
      InputError: the example can't be read.
    """
    from perceiver.data.stream.batches import eval_batches

    if len(dataset.class_names) == 1 and config.train.loss == "softmax":
        raise InputError(
            f"data set {config.data.name!r} has one class alone, {dataset.class_names[0]!r}: there "
            "is nothing to tell apart; give a folder with at least two class folders"
        )
    source = dataclasses.replace(dataset.eval, num_examples=1)
    example = next(eval_batches(source, batch_size=1))
    name, spec = config.data.name, networks.batch_spec(config, 1)
    modalities = networks.modalities_of(config)
    label = build.objective(config, training=False).label
    takers = [(modality, "network") for modality in modalities]
    for wanted, by in (*takers, (label, f"{config.train.loss} loss")):
        if wanted not in example:
            given = ", ".join(key for key in example if key not in ("index", "mask"))
            raise InputError(f"data set {name!r} gives {given}; the {by} takes {wanted}")
    for modality in modalities:
        given = example[modality][0, 0] if source.eval_windows else example[modality][0]
        shape, dtype = spec[modality].shape[1:], spec[modality].dtype
        if (given.shape, given.dtype) != (shape, dtype):
            raise InputError(
                f"data set {name!r} gives {modality} {given.dtype} {list(given.shape)}; "
                f"the network takes {dtype} {list(shape)}"
            )


def check_batch(config: ConfigDict) -> None:
    """Refuses a training batch that hosts, devices and accumulation do not divide."""
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
