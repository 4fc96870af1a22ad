"""Learning rate as a function of the step.

ImageNet uses 'step': 0.004, divided by 10 at epochs 84, 102 and 114 of 120 (Section 4.1).
ModelNet40 uses 'constant': 0.001 (Section 4.3). The authors of the ViT baseline use 'cosine'
(Loshchilov and Hutter, 2017).
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from perceiver.errors import InputError
from perceiver.names import build


def learning_rate(
    name: str, *, base: float, total_steps: int, warmup_steps: int, **own
) -> optax.Schedule:
    """Returns the learning rate as a function of the number of updates already made.

    Every schedule rises linearly from 0 at step 0 to its full value at `warmup_steps`.

    Args:
      name: schedule, 'constant', 'step' or 'cosine'; see `constant`, `step` and `cosine`.
      base: rate after the warm-up, at least 0.
      total_steps: length of the run in steps, at least 1.
      warmup_steps: length of the linear rise in steps; 0 for none.
      **own: arguments of the chosen schedule alone.

    Returns:
      A function from an integer step, a Python or traced one, to a float32 scalar.

    Raises:
      InputError: an unknown name, a key that this schedule does not have, a missing one, or a value
        out of range.
    """
    if not (math.isfinite(base) and base >= 0):
        raise InputError(f"the base learning rate must be finite and at least 0, not {base}.")
    if total_steps < 1:
        raise InputError(f"total_steps must be at least 1, not {total_steps}.")
    if warmup_steps < 0:
        raise InputError(f"warmup_steps must be at least 0, not {warmup_steps}.")
    shared = {"base": base, "total_steps": total_steps, "warmup_steps": warmup_steps}
    after_warmup = build(_SCHEDULES, name, what="learning rate schedule", own=own, shared=shared)

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        rise = (
            jnp.minimum(1.0, jnp.asarray(step, jnp.float32) / max(1, warmup_steps))
            if warmup_steps
            else 1.0
        )
        return jnp.asarray(rise * after_warmup(step), jnp.float32)

    return schedule


def constant(*, base: float) -> optax.Schedule:
    """Returns the rate `base` at every step."""
    return lambda step: jnp.float32(base)


def step(*, base: float, boundaries: Sequence[int], factor: float) -> optax.Schedule:
    """Returns `base`, multiplied by `factor` at each boundary that has been reached.

    Args:
      base: rate before the first boundary.
      boundaries: positive steps in rising order, counted from step 0, not from the end of the
        warm-up. Boundaries beyond the run are never reached.
      factor: factor at each boundary, above 0.
    """
    boundaries = tuple(boundaries)
    if any(later <= earlier for earlier, later in zip((0, *boundaries), boundaries, strict=False)):
        raise InputError(f"boundaries must be positive and rising, not {boundaries}.")
    if not (math.isfinite(factor) and factor > 0):
        raise InputError(f"factor must be finite and above 0, not {factor}.")
    # A table of rates, each rounded once, instead of a product that rounds at every boundary.
    rates = [base * factor**reached for reached in range(len(boundaries) + 1)]

    def schedule(step):
        reached = jnp.sum(jnp.asarray(step) >= jnp.asarray(boundaries, jnp.int32))
        return jnp.asarray(rates, jnp.float32)[reached]

    return schedule


def cosine(*, base: float, total_steps: int, warmup_steps: int) -> optax.Schedule:
    """Returns half a cosine, from `base` at the end of the warm-up to 0 at `total_steps`."""
    if warmup_steps >= total_steps:
        raise InputError(
            f"a cosine needs warmup_steps ({warmup_steps}) below total_steps ({total_steps})."
        )

    def schedule(step):
        done = (jnp.asarray(step, jnp.float32) - warmup_steps) / (total_steps - warmup_steps)
        return base * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(done, 0.0, 1.0)))

    return schedule


_SCHEDULES: dict[str, Callable[..., optax.Schedule]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
}
