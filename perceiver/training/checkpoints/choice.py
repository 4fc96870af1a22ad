"""Which checkpoint to restore: the one asked for if it is whole, or the newest that is."""

import sys
from typing import Literal, NamedTuple

from perceiver.training.checkpoints.folders import CheckpointFolders


class Choice(NamedTuple):
    """What was found.

    Attributes:
      step: a whole checkpoint; None where there is none, or where the rest says why not.
      error: what the user is to be told, if nothing can be restored.
      gone: a checkpoint was deleted, by the run that writes, while it was checked: look again.
      missing: the error is that there is no such checkpoint.
    """

    step: int | None = None
    error: str | None = None
    gone: bool = False
    missing: bool = False


def choose(
    folders: CheckpointFolders, wanted: int | Literal["best"] | None, *, move: bool
) -> Choice:
    """Finds the checkpoint to restore, and reads all of it to check its sums.

    Where the newest is wanted and is damaged, this warns on stderr, with a line each, of those that
    are passed over.

    Args:
      folders: the checkpoints.
      wanted: a step, 'best', or None for the newest.
      move: move those that are passed over out of the way.
    """
    try:
        return _newest(folders, move) if wanted is None else _this(folders, wanted)
    except (ValueError, OSError) as error:
        return Choice(error=f"could not read the checkpoints in {folders.directory}: {error}")


def _this(folders: CheckpointFolders, wanted: int | Literal["best"]) -> Choice:
    best = wanted == "best"
    step = folders.best_step() if best else wanted
    steps = folders.steps()
    if step is None or (step not in steps and not best):
        kind = f"checkpoint with {folders.best_of!r}" if best else f"step {step}"
        error = f"there is no {kind} in {folders.directory}, only steps {steps}"
        return Choice(error=error, missing=True)
    damage = folders.damage(step)
    if damage is None:
        return Choice(step)
    if best and not folders.path(step).exists():
        return Choice(gone=True)
    return Choice(
        error=f"step {step} in {folders.directory} is damaged: {damage}. Take another, or the "
        "newest, which falls back on one that is whole."
    )


def _newest(folders: CheckpointFolders, move: bool) -> Choice:
    damaged = {}
    for step in reversed(folders.steps()):
        damage = folders.damage(step)
        if damage is None:
            for broken, fault in damaged.items():
                line = f"warning: step {broken} in {folders.directory} is damaged: {fault}; "
                line += f"moved to {folders.set_aside(broken)}; " if move else ""
                print(f"{line}using step {step}", file=sys.stderr, flush=True)
            return Choice(step)
        if not folders.path(step).exists():
            return Choice(gone=True)
        damaged[step] = damage
    faults = [f"step {step}: {fault}" for step, fault in damaged.items()]
    faults += [f"{name} was damaged before" for name in folders.damaged()]
    if not faults:
        return Choice()
    # Nothing is moved: the next start would find an empty directory and begin anew.
    return Choice(
        error=f"no checkpoint in {folders.directory} is whole ({'; '.join(faults)}). Restore one "
        "from a copy, or start in a new directory."
    )
