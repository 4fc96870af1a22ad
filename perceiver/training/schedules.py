"""Learning rate as a function of the step.

ImageNet (Section 4.1): 0.004, divided by 10 at epochs 84, 102 and 114 of 120: 'step'. ModelNet40
(Section 4.3): 0.001 throughout: 'constant'. 'cosine' (Loshchilov and Hutter, 2017) is what the ViT
baseline's authors use.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from perceiver.errors import InputError
from perceiver.names import look_up


def learning_rate(
    *,
    name: str,
    base: float,
    total_steps: int,
    warmup_steps: int = 0,
    boundaries: Sequence[int] = (),
    factor: float = 0.1,
) -> optax.Schedule:
    """Returns the learning rate as a function of the number of updates already made.

    Every schedule rises linearly from 0 at step 0 to its full value at `warmup_steps` (the step
    schedule's boundaries count from step 0, not from the end of the warm-up).

    Args:
      name: 'constant'; 'step', `base` times `factor` once for each boundary reached; or 'cosine',
        half a cosine from `base` at the end of the warm-up to 0 at `total_steps`.
      base: the rate after the warm-up, at least 0.
      total_steps: length of the run in steps, at least 1; only 'cosine' depends on it.
      warmup_steps: length of the linear rise in steps.
      boundaries: rising positive steps; read by 'step' alone. Those beyond the run are never
        reached.
      factor: what each boundary multiplies the rate by, above 0; read by 'step' alone.

    Returns:
      A function of an integer step, Python's or traced, to a float32 scalar.

    Raises:
      InputError: an unknown name (with the nearest one) or a value out of range.
    """
    shape = look_up(_SHAPES, name, what="learning rate schedule")
    if not (math.isfinite(base) and base >= 0):
        raise InputError(f"the base learning rate must be finite and at least 0, not {base}.")
    if total_steps < 1:
        raise InputError(f"total_steps must be at least 1, not {total_steps}.")
    if warmup_steps < 0:
        raise InputError(f"warmup_steps must be at least 0, not {warmup_steps}.")
    after_warmup = shape(
        base=base,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        boundaries=tuple(boundaries),
        factor=factor,
    )

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        rise = (
            jnp.minimum(1.0, jnp.asarray(step, jnp.float32) / max(1, warmup_steps))
            if warmup_steps
            else 1.0
        )
        return jnp.asarray(rise * after_warmup(step), jnp.float32)

    return schedule


def _constant(*, base: float, **_) -> optax.Schedule:
    return lambda step: jnp.float32(base)


def _step(*, base: float, boundaries: tuple[int, ...], factor: float, **_) -> optax.Schedule:
    if any(later <= earlier for earlier, later in zip((0, *boundaries), boundaries, strict=False)):
        raise InputError(f"boundaries must be positive and rising, not {boundaries}.")
    if not (math.isfinite(factor) and factor > 0):
        raise InputError(f"factor must be finite and above 0, not {factor}.")
    # A table of rates, each rounded once, rather than a product of factors that rounds at every
    # boundary.
    rates = [base * factor**reached for reached in range(len(boundaries) + 1)]

    def schedule(step):
        reached = jnp.sum(jnp.asarray(step) >= jnp.asarray(boundaries, jnp.int32))
        return jnp.asarray(rates, jnp.float32)[reached]

    return schedule


def _cosine(*, base: float, total_steps: int, warmup_steps: int, **_) -> optax.Schedule:
    if warmup_steps >= total_steps:
        raise InputError(
            f"a cosine needs warmup_steps ({warmup_steps}) below total_steps ({total_steps})."
        )

    def schedule(step):
        done = (jnp.asarray(step, jnp.float32) - warmup_steps) / (total_steps - warmup_steps)
        return base * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(done, 0.0, 1.0)))

    return schedule


_SHAPES: dict[str, Callable[..., optax.Schedule]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
}
