"""One step of training and of evaluation, as functions of trees (Sec. 4.1, 'Optimization').

They know of devices only by the name of an axis to average over.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from perceiver.training.losses import softmax_cross_entropy, top_k_correct
from perceiver.training.optimizer import ema_update

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


class TrainState(NamedTuple):
    """All that a training step reads and writes.

    Attributes:
      step: int32, steps completed.
      params: the model's parameters.
      opt_state: the optimiser's.
      ema: exponential moving average of the parameters; empty where there is none.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    ema: Any

    def params_for_evaluation(self) -> Any:
        """The averaged parameters where there are any."""
        return self.ema or self.params


def init_state(params: Any, optimizer: optax.GradientTransformation, *, ema: bool) -> TrainState:
    """The state before the first step; the average starts at the initial parameters."""
    return TrainState(
        step=jnp.zeros([], jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params) if ema else {},
    )


def make_train_step(
    apply: Callable[[Any, Batch], jax.Array],
    optimizer: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    *,
    label_smoothing: float,
    ema_decay: float,
    accumulate: int,
    axis: str,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Builds the training step.

    Args:
      apply: class logits [b, classes] of parameters and a batch.
      optimizer: gradient to update.
      learning_rate: the schedule, for reporting.
      label_smoothing: of the cross-entropy.
      ema_decay: of the parameters' moving average, 0 for none.
      accumulate: parts that a device's share of the batch is taken in, one after another, for less
        memory; the gradient is that of the whole.
      axis: name of the axis of devices.

    Returns:
      A function of the state and a device's share of the batch, {'label': int [b], inputs...}, to
      the next state and metrics averaged over all devices: loss, top1 and top5 (shares),
      gradient_norm, learning_rate.
    """

    def loss_fn(params, batch):
        logits = apply(params, batch)
        loss = softmax_cross_entropy(logits, batch["label"], label_smoothing).mean()
        return loss, {
            "loss": loss,
            "top1": top_k_correct(logits, batch["label"], 1).mean(),
            "top5": top_k_correct(logits, batch["label"], 5).mean(),
        }

    def gradient(params, batch):
        grad_fn = jax.grad(loss_fn, has_aux=True)
        if accumulate == 1:
            return grad_fn(params, batch)
        parts = jax.tree.map(lambda x: x.reshape(accumulate, -1, *x.shape[1:]), batch)
        first = jax.eval_shape(grad_fn, params, jax.tree.map(lambda x: x[0], parts))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)

        def add(total, part):
            return jax.tree.map(jnp.add, total, grad_fn(params, part)), None

        total, _ = jax.lax.scan(add, zeros, parts)
        return jax.tree.map(lambda x: x / accumulate, total)

    def step(state, batch):
        grads, metrics = jax.lax.pmean(gradient(state.params, batch), axis)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = ema_update(state.ema, params, state.step, ema_decay) if ema_decay else state.ema
        metrics["gradient_norm"] = optax.global_norm(grads)
        metrics["learning_rate"] = jnp.asarray(learning_rate(state.step))
        return TrainState(state.step + 1, params, opt_state, ema), metrics

    return step


def make_eval_step(
    apply: Callable[[Any, Batch], jax.Array], *, axis: str
) -> Callable[[Any, Batch], Metrics]:
    """Builds the evaluation step.

    Args:
      apply: class logits [b, classes] of parameters and a batch.
      axis: name of the axis of devices.

    Returns:
      A function of the parameters and a device's share of the batch, {'label': int [b], 'mask':
      float [b], inputs...}, to sums over the examples of all devices where the mask is 1: loss,
      top1, top5 and num_examples.
    """

    def step(params, batch):
        logits = apply(params, batch)
        labels, mask = batch["label"], batch["mask"]
        sums = {
            "loss": softmax_cross_entropy(logits, labels, 0.0),
            "top1": top_k_correct(logits, labels, 1),
            "top5": top_k_correct(logits, labels, 5),
            "num_examples": jnp.ones_like(mask),
        }
        return jax.lax.psum({name: jnp.sum(x * mask) for name, x in sums.items()}, axis)

    return step
