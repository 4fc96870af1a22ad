"""Durations and intervals of a run in optimiser steps.

The paper prints the length of training in epochs for ImageNet and AudioSet and in steps for
ModelNet40 (Section 4), so a config may set either. The code after the config counts in steps.
"""

import math

from perceiver.errors import InputError


def to_steps(*, steps: int | None, epochs: float | None, steps_per_epoch: float) -> int | None:
    """Converts a duration in steps or in epochs to whole optimiser steps.

    If both are set, steps take precedence: an override in steps on the command line replaces the
    epochs of a config.

    Args:
      steps: duration in optimiser steps, or None.
      epochs: duration in passes over the data set (fractions allowed), or None.
      steps_per_epoch: number of examples in the data set / batch size over all devices; need not be
        a whole number.

    Returns:
      The number of steps, rounded to the nearest integer but at least 1 for a positive duration;
      None if neither is set.

    Raises:
      InputError: a negative or non-finite duration, or epochs without a positive `steps_per_epoch`.
    """
    duration = to_interval(steps=steps, epochs=epochs, steps_per_epoch=steps_per_epoch)
    if not duration:
        return None if duration is None else 0
    return max(1, round(duration))


def to_interval(*, steps: int | None, epochs: float | None, steps_per_epoch: float) -> float | None:
    """Converts an interval in steps or in epochs to steps, without rounding.

    An action that is due once per epoch then runs exactly as often as there are epochs. Arguments
    and errors are those of `to_steps`.
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
    """Returns whether an action with the interval `every` is due after `step`.

    Args:
      step: number of completed steps, counted from 1.
      every: interval in steps, not necessarily whole; the first whole step at or after each
        multiple is due. None or 0 means never, not even at the last step.
      last: number of steps of the run; every action with an interval is due there.

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
