"""One step of training and of evaluation, as functions of trees (Sec. 4.1, 'Optimization').

They know of devices only by the name of an axis to average over.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from perceiver.training.objectives import Objective
from perceiver.training.optimizer import ema_update

# What a batch has beside the network's inputs.
_NO_INPUTS = ("label", "labels", "other_label", "label_weight", "index", "mask")

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
    objective: Objective,
    ema_decay: float,
    accumulate: int,
    axis: str,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Builds the training step.

    Args:
      apply: class logits [b, classes] of parameters and a batch.
      optimizer: gradient to update.
      learning_rate: the schedule, for reporting.
      objective: loss and metrics.
      ema_decay: of the parameters' moving average, 0 for none.
      accumulate: parts that a device's share of the batch is taken in, one after another, for less
        memory; the gradient is that of the whole.
      axis: name of the axis of devices.

    Returns:
      A function of the state and a device's share of the batch, inputs and labels, to the next
      state and metrics averaged over all devices: loss, those of the objective, gradient_norm,
      learning_rate.
    """

    def loss_fn(params, batch):
        logits = apply(params, batch)
        each = {"loss": objective.loss(logits, batch), **objective.metrics(logits, batch)}
        means = {name: x.mean() for name, x in each.items()}
        return means["loss"], means

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
    apply: Callable[[Any, Batch], jax.Array],
    *,
    objective: Objective,
    windows: bool,
    axis: str,
) -> Callable[[Any, Batch], tuple[Metrics, Metrics]]:
    """Builds the evaluation step.

    Args:
      apply: class logits [b, classes] of parameters and a batch.
      objective: loss and metrics; give it no label smoothing.
      windows: whether the inputs are [b, W, ...], W windows of each example, whose scores are
        averaged. The windows are taken one after another.
      axis: name of the axis of devices.

    Returns:
      A function of the parameters and a device's share of the batch, inputs, labels and 'mask',
      float [b], to two dicts: sums over the examples of all devices where the mask is 1, of loss,
      the objective's metrics and num_examples; and, where the objective keeps scores, 'logits' and
      'labels' [B, classes] and 'mask' [B] of all devices.
    """

    def all_logits(params, batch):
        if not windows:
            return apply(params, batch)
        others = {name: x for name, x in batch.items() if name in _NO_INPUTS}
        inputs = {
            name: jnp.moveaxis(x, 1, 0) for name, x in batch.items() if name not in _NO_INPUTS
        }
        of_windows = jax.lax.map(lambda window: apply(params, others | window), inputs)
        return objective.average(of_windows)

    def step(params, batch):
        logits, mask = all_logits(params, batch), batch["mask"]
        each = {"loss": objective.loss(logits, batch), **objective.metrics(logits, batch)}
        each["num_examples"] = jnp.ones_like(mask)
        # A padded example may have any loss, NaN as well, which times 0 would not be 0.
        sums = {name: jnp.sum(jnp.where(mask > 0, x, 0)) for name, x in each.items()}
        kept = {}
        if objective.keeps_scores:
            kept = {"logits": logits, "labels": batch["labels"], "mask": mask}
        return jax.lax.psum(sums, axis), jax.lax.all_gather(kept, axis, tiled=True)

    return step
