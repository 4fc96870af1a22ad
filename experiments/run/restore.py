"""The trained network that a program's --workdir and --checkpoint name, and its data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from perceiver.errors import InputError

if TYPE_CHECKING:
    from perceiver.data.dataset import Dataset
    from perceiver.library import Classifier


def which(checkpoint: str, option: str = "--checkpoint") -> int | Literal["newest", "best"]:
    """A checkpoint as the library takes it.

    Args:
      checkpoint: the user's word.
      option: what he gave it to, for the message.

    Raises:
      InputError: it is not 'newest', 'best' or a step.
    """
    if checkpoint in ("newest", "best"):
        return checkpoint
    if checkpoint.isdecimal():
        return int(checkpoint)
    raise InputError(f"{option}={checkpoint} is not newest, best or a step")


def load(workdir: str, checkpoint: str) -> "Classifier":
    """Loads what a run has learned, or what was exported of one.

    Raises:
      InputError: no run, or not the name of a checkpoint.
      perceiver.training.checkpoints.CheckpointError: it is missing or damaged.
    """
    from perceiver import library  # Orbax only now: --help and mistakes are quick

    return library.load(workdir, which(checkpoint))


def dataset(data: Mapping[str, Any]) -> "Dataset":
    """Loads the data set of a run.

    Args:
      data: the section `data` of its config, as JSON has it: lists stand for tuples.

    Raises:
      perceiver.data.errors.InputError: it is not there, or not as it should be.
    """
    from perceiver.data import registry  # TensorFlow only now

    options = {key: tuple(x) if isinstance(x, list) else x for key, x in data.items()}
    options.pop("num_classes", None)  # nominal: what is there counts
    return registry.load(**options)
