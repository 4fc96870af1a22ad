"""The trained network that a program's --workdir and --checkpoint name."""

from typing import TYPE_CHECKING, Literal

from experiments.answers import UserError, user_values

if TYPE_CHECKING:
    from perceiver.library import Classifier


def which(checkpoint: str, option: str = "--checkpoint") -> int | Literal["newest", "best"]:
    """A checkpoint as the library takes it.

    Args:
      checkpoint: the user's word.
      option: what he gave it to, for the message.

    Raises:
      UserError: it is not 'newest', 'best' or a step.
    """
    if checkpoint in ("newest", "best"):
        return checkpoint
    if checkpoint.isdecimal():
        return int(checkpoint)
    raise UserError(f"{option}={checkpoint} is not newest, best or a step")


def load(workdir: str, checkpoint: str) -> "Classifier":
    """Loads what a run has learned, or what was exported of one.

    Raises:
      UserError: no run, or not the name of a checkpoint.
      perceiver.training.checkpoints.CheckpointError: it is missing or damaged.
    """
    from perceiver import library  # Orbax only now: --help and mistakes are quick

    return user_values(library.load, workdir, which(checkpoint))
