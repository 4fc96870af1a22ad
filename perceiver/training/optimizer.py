"""Optimisers by name, and the moving average of what they train.

The paper trains everything with LAMB (You et al., 2020, arXiv:1904.00962, Algorithm 2; Section 4).
AdamW and SGD with momentum are for the baselines, which their own authors train so.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from perceiver.errors import InputError
from perceiver.names import look_up

Tree = Any


def make_optimizer(
    *,
    name: str,
    learning_rate: optax.Schedule,
    weight_decay: float,
    b1: float,
    b2: float,
    eps: float,
    momentum: float,
    clip_norm: float,
) -> optax.GradientTransformation:
    """Builds gradient clipping followed by an optimiser.

    The state's structure depends on `name` alone, so that changing a number keeps checkpoints
    readable.

    Args:
      name: 'lamb'; 'adamw', with decoupled decay (the decay is scaled by the learning rate but not
        by the gradient's second moment); or 'sgd', Nesterov-free momentum with coupled, L2-style
        decay (the decay is added to the gradient before the momentum), as ResNets are trained.
      learning_rate: function of the number of updates made.
      weight_decay: coefficient, for the parameters that `decayed` picks; 0 for none.
      b1: decay of the gradient's first moment; 'lamb' and 'adamw'.
      b2: decay of the gradient's second moment; 'lamb' and 'adamw'.
      eps: added to the root of the second moment; 'lamb' and 'adamw'.
      momentum: decay of the summed gradients; 'sgd'.
      clip_norm: largest Euclidean norm of the whole gradient; 0 for no clipping.

    Returns:
      An optax transformation whose `update` needs the parameters.

    Raises:
      InputError: an unknown name (with the nearest one) or a number out of range.
    """
    optimizer = look_up(_OPTIMIZERS, name, what="optimizer")
    for what, value in (("b1", b1), ("b2", b2), ("momentum", momentum)):
        if not 0 <= value < 1:
            raise InputError(f"{what} must be at least 0 and below 1, not {value}.")
    for what, value in (("weight_decay", weight_decay), ("eps", eps), ("clip_norm", clip_norm)):
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{what} must be finite and at least 0, not {value}.")
    return optax.chain(
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        optimizer(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            b1=b1,
            b2=b2,
            eps=eps,
            momentum=momentum,
        ),
    )


def decayed(params: Tree) -> Tree:
    """Tells which parameters weight decay applies to: those that Haiku names 'w'.

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
    """Moves the exponential moving average of parameters and the like one step on.

    The decay ramps up as min(decay, (1 + step) / (10 + step)), so that the initial values are soon
    forgotten (tf.train.ExponentialMovingAverage).

    Args:
      ema: the average so far, a tree like `values`.
      values: after the step's update; integers, which count, are taken as they are.
      step: updates made before this one, an integer scalar.
      decay: the decay once the ramp has reached it, from 0 to 1.

    Returns:
      The new average, in the dtypes of `ema`.
    """
    step = jnp.asarray(step, jnp.float32)
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))

    def average(old, new):
        if not jnp.issubdtype(old.dtype, jnp.floating):
            return new
        return (kept * old + (1.0 - kept) * new).astype(old.dtype)

    return jax.tree.map(average, ema, values)


def _lamb(*, learning_rate, weight_decay, b1, b2, eps, **_) -> optax.GradientTransformation:
    return optax.lamb(learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=decayed)


def _adamw(*, learning_rate, weight_decay, b1, b2, eps, **_) -> optax.GradientTransformation:
    return optax.adamw(
        learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay, mask=decayed
    )


def _sgd(*, learning_rate, weight_decay, momentum, **_) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=decayed),
        optax.trace(decay=momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


_OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "lamb": _lamb,
    "adamw": _adamw,
    "sgd": _sgd,
}
