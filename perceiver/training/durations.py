"""How long to train and how often to act, counted in optimiser steps.

The paper prints ImageNet's and AudioSet's lengths in epochs and ModelNet40's in steps (Section 4),
so a config may set either; everything after the config counts in steps.
"""

import math

from perceiver.errors import InputError


def to_steps(*, steps: int | None, epochs: float | None, steps_per_epoch: float) -> int | None:
    """Turns a duration given in steps or in epochs into whole optimiser steps.

    Where both are set, steps win: an override in steps on the command line replaces the epochs of a
    config.

    Args:
      steps: the duration in optimiser steps, or None.
      epochs: the duration in passes over the data set (fractions allowed), or None.
      steps_per_epoch: examples of the data set / batch size over all devices; need not be whole.

    Returns:
      Steps, rounded to the nearest whole one but never from a positive duration to 0; None where
      neither is set.

    Raises:
      InputError: a negative or non-finite duration, or epochs without a positive `steps_per_epoch`.
    """
    duration = to_interval(steps=steps, epochs=epochs, steps_per_epoch=steps_per_epoch)
    if not duration:
        return None if duration is None else 0
    return max(1, round(duration))


def to_interval(*, steps: int | None, epochs: float | None, steps_per_epoch: float) -> float | None:
    """Turns an interval given in steps or in epochs into steps, not rounded.

    Something done once an epoch is then done as often as there are epochs, however long the run.
    Arguments and errors are those of `to_steps`.
    """
    if steps is not None:
        if steps < 0 or steps != int(steps):
            raise InputError(f"steps must be a whole number of at least 0, not {steps}.")
        return float(steps)
    if epochs is None:
        return None
    if not (math.isfinite(epochs) and epochs >= 0):
        raise InputError(f"epochs must be a finite number of at least 0, not {epochs}.")
    if not (math.isfinite(steps_per_epoch) and steps_per_epoch > 0):
        raise InputError(
            f"steps_per_epoch must be positive, not {steps_per_epoch}: give the data set's size."
        )
    return epochs * steps_per_epoch


def is_due(step: int, every: float | None, *, last: int) -> bool:
    """Whether something done every `every` steps is to be done after `step`.

    Args:
      step: completed steps, counted from 1.
      every: the interval in steps, whole or not, of which the first whole step after each
        multiple is due; None or 0 means never, not even at the last step.
      last: the run's number of steps; whatever has an interval is also due there.

    Raises:
      InputError: `step` below 1 or a negative interval.
    """
    if step < 1:
        raise InputError(f"step counts completed steps and starts at 1, not {step}.")
    if every is not None and every < 0:
        raise InputError(f"an interval must be None, 0 (never) or a number of steps, not {every}.")
    if not every:
        return False
    return step == last or math.floor(step / every) > math.floor((step - 1) / every)
