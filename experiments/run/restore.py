"""Restores the network that a program's --workdir and --checkpoint name, and loads its data."""

from collections.abc import Mapping
from typing import Any, Literal

from perceiver import library
from perceiver.data import registry
from perceiver.data.dataset import Dataset
from perceiver.errors import InputError


def parse_checkpoint(
    checkpoint: str, option: str = "--checkpoint"
) -> int | Literal["newest", "best"]:
    """Converts the value of --checkpoint to an argument of `library.load`.

    Args:
      checkpoint: Value that the user gave.
      option: Name of the option, for the message.

    Raises:
      InputError: The value is not 'newest', 'best' or a step.
    """
    if checkpoint == "newest":
        return "newest"
    if checkpoint == "best":
        return "best"
    if checkpoint.isdecimal():
        return int(checkpoint)
    raise InputError(f"{option}={checkpoint} is not newest, best or a step")


def load(workdir: str, checkpoint: str) -> library.Classifier:
    """Loads the network of a run, or of a file exported from one.

    Raises:
      InputError: There is no run, or `checkpoint` is not the name of a checkpoint.
      perceiver.training.checkpoints.CheckpointError: The checkpoint is missing or damaged.
    """
    return library.load(workdir, parse_checkpoint(checkpoint))


def dataset(data: Mapping[str, Any]) -> Dataset:
    """Loads the data set of a run.

    Args:
      data: The section `data` of the run's config, read from JSON with lists in place of tuples.

    Raises:
      InputError: The data set is missing or damaged.
    """
    options: dict[str, Any] = {
        key: tuple(x) if isinstance(x, list) else x for key, x in data.items()
    }
    options.pop("num_classes", None)  # nominal: the data set has its own
    return registry.load(**options)
