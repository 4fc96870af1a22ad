"""Optimisers by name, and the moving average of the parameters that they train.

The paper trains every network with LAMB (You et al., 2020, arXiv:1904.00962, Algorithm 2; Sec. 4).
AdamW and SGD with momentum are what the authors of the baselines use.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from perceiver.errors import InputError
from perceiver.names import build

Tree = Any


def make_optimizer(
    name: str,
    *,
    learning_rate: optax.Schedule,
    weight_decay: float,
    clip_norm: float,
    **own: float,
) -> optax.GradientTransformation:
    """Builds gradient clipping followed by an optimiser.

    The state's structure depends on `name` alone, so that changing a number keeps checkpoints
    readable.

    Args:
      name: optimiser, 'lamb', 'adamw' or 'sgd'; see `lamb`, `adamw` and `sgd`.
      learning_rate: learning rate as a function of the number of updates made.
      weight_decay: coefficient of weight decay for the parameters that `decayed` selects; 0 for
        none.
      clip_norm: largest Euclidean norm of the whole gradient; 0 for no clipping.
      **own: arguments of the chosen optimiser alone.

    Returns:
      An optax transformation whose `update` needs the parameters.

    Raises:
      InputError: an unknown name, a key that this optimiser does not have, a missing one, or a
        number out of range.
    """
    _check_finite(weight_decay=weight_decay, clip_norm=clip_norm)
    shared = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    return optax.chain(
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        build(_OPTIMIZERS, name, what="optimizer", own=own, shared=shared),
    )


def lamb(
    *, learning_rate: optax.Schedule, weight_decay: float, b1: float, b2: float, eps: float
) -> optax.GradientTransformation:
    """Builds LAMB.

    Args:
      learning_rate: learning rate as a function of the number of updates made.
      weight_decay: coefficient of weight decay.
      b1: decay rate of the gradient's first moment.
      b2: decay rate of the gradient's second moment.
      eps: number added to the root of the second moment.
    """
    _check_decay_rates(b1=b1, b2=b2)
    _check_finite(eps=eps)
    return optax.lamb(learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=decayed)


def adamw(
    *, learning_rate: optax.Schedule, weight_decay: float, b1: float, b2: float, eps: float
) -> optax.GradientTransformation:
    """Builds AdamW: its decay is scaled by the learning rate but not by the second moment.

    The arguments are those of `lamb`.
    """
    _check_decay_rates(b1=b1, b2=b2)
    _check_finite(eps=eps)
    return optax.adamw(
        learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=decayed
    )


def sgd(
    *, learning_rate: optax.Schedule, weight_decay: float, momentum: float
) -> optax.GradientTransformation:
    """Builds SGD with momentum (not Nesterov's) and L2 decay, the usual optimiser of ResNets.

    Args:
      learning_rate: learning rate as a function of the number of updates made.
      weight_decay: coefficient of weight decay, added to the gradient before the momentum.
      momentum: decay rate of the summed gradients.
    """
    _check_decay_rates(momentum=momentum)
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=decayed),
        optax.trace(decay=momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


_OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "lamb": lamb,
    "adamw": adamw,
    "sgd": sgd,
}


def _check_decay_rates(**rates: float) -> None:
    for name, value in rates.items():
        if not 0 <= value < 1:
            raise InputError(f"{name} must be at least 0 and below 1, not {value}.")


def _check_finite(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be finite and at least 0, not {value}.")


def decayed(params: Tree) -> Tree:
    """Marks the parameters to which weight decay applies: those that Haiku names 'w'.

    These are the weights of linear layers and convolutions. Biases, the scales and offsets of
    LayerNorm and BatchNorm, latent arrays ('latents'), learned positions ('positions') and learned
    modality encodings are left alone.

    Args:
      params: a Haiku tree, {module: {parameter: array}}.

    Returns:
      A tree of the same structure with a bool for each parameter.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1] == jax.tree_util.DictKey("w"), params
    )


def ema_update(ema: Tree, values: Tree, step: jax.typing.ArrayLike, decay: float) -> Tree:
    """Advances the exponential moving average of parameters and state by one step.

    The decay ramps up as min(decay, (1 + step) / (10 + step)), so that the initial values are soon
    forgotten (tf.train.ExponentialMovingAverage).

    Args:
      ema: the average so far, a tree like `values`.
      values: values after the step's update; integers, which are counters, are copied.
      step: number of updates made before this one, an integer scalar.
      decay: decay at the end of the ramp, from 0 to 1.

    Returns:
      The new average, in the dtypes of `ema`.
    """
    step = jnp.asarray(step, jnp.float32)
    retained = jnp.minimum(decay, (1.0 + step) / (10.0 + step))

    def average(old, new):
        if not jnp.issubdtype(old.dtype, jnp.floating):
            return new
        return (retained * old + (1.0 - retained) * new).astype(old.dtype)

    return jax.tree.map(average, ema, values)
