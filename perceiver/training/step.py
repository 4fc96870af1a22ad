"""One step of training and of evaluation, as functions of trees (Sec. 4.1, 'Optimization').

They know of devices only by the name of an axis to average over.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from perceiver.training.example_scores import of_one_label
from perceiver.training.finite import not_finite
from perceiver.training.objectives import Objective
from perceiver.training.optimizer import ema_update

# What a batch has beside the network's inputs.
_NO_INPUTS = ("label", "labels", "other_label", "label_weight", "index", "mask")

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


def inputs_of(batch: Batch) -> Batch:
    """What of a batch the network takes in."""
    return {name: x for name, x in batch.items() if name not in _NO_INPUTS}


class Variables(NamedTuple):
    """What a model has learned.

    Attributes:
      params: its parameters.
      state: what it gathers while it is trained, BatchNorm's averages; empty for a Perceiver.
    """

    params: Any
    state: Any


# The parts of a `TrainState` that are evaluated: the first that is there.
EVALUATED = ("ema", "variables")


class TrainState(NamedTuple):
    """All that a training step reads and writes.

    Attributes:
      step: int32, steps completed.
      variables: the model's.
      opt_state: the optimiser's.
      ema: exponential moving average of the variables; empty where there is none.
    """

    step: jax.Array
    variables: Variables
    opt_state: Any
    ema: Any

    def for_evaluation(self) -> Variables:
        """The averaged variables where there are any."""
        return self.ema or self.variables


def init_state(
    variables: Variables, optimizer: optax.GradientTransformation, *, ema: bool
) -> TrainState:
    """The state before the first step; the average starts at the initial variables."""
    return TrainState(
        step=jnp.zeros([], jnp.int32),
        variables=variables,
        opt_state=optimizer.init(variables.params),
        ema=jax.tree.map(jnp.copy, variables) if ema else {},
    )


def make_train_step(
    apply: Callable[..., tuple[jax.Array, Any]],
    optimizer: optax.GradientTransformation,
    learning_rate: optax.Schedule,
    *,
    objective: Objective,
    seed: int,
    ema_decay: float,
    accumulate: int,
    axis: str,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Builds the training step.

    Args:
      apply: of parameters, state, a random key, a batch and True: class logits [b, classes] and the
        next state, the same on all devices.
      optimizer: gradient to update.
      learning_rate: the schedule, for reporting.
      objective: loss and metrics.
      seed: decides, with the step, the model's random key.
      ema_decay: of the variables' moving average, 0 for none.
      accumulate: parts that a device's share of the batch is taken in, one after another, for less
        memory. The gradient is that of the whole, except with BatchNorm, which normalises each part
        by itself. The state sees one part after another.
      axis: name of the axis of devices.

    Returns:
      A function of the state and a device's share of the batch, inputs and labels, to the next
      state and metrics averaged over all devices: loss, those of the objective, gradient_norm,
      learning_rate; and not_finite, bool [parts], see `perceiver.training.finite`.
    """

    def loss_fn(params, model_state, rng, batch):
        logits, model_state = apply(params, model_state, rng, batch, True)
        each = {"loss": objective.loss(logits, batch), **objective.metrics(logits, batch)}
        means = {name: x.mean() for name, x in each.items()}
        return means["loss"], (means, model_state)

    def gradient(variables, rng, batch):
        """The gradient, the metrics and the model's next state."""

        def of_part(model_state, part):
            grads, (metrics, model_state) = jax.grad(loss_fn, has_aux=True)(
                variables.params, model_state, rng, part
            )
            return model_state, (grads, metrics)

        if accumulate == 1:
            model_state, means = of_part(variables.state, batch)
            return *means, model_state
        parts = jax.tree.map(lambda x: x.reshape(accumulate, -1, *x.shape[1:]), batch)
        _, first = jax.eval_shape(of_part, variables.state, jax.tree.map(lambda x: x[0], parts))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)

        def add(carry, part):
            model_state, total = carry
            model_state, means = of_part(model_state, part)
            return (model_state, jax.tree.map(jnp.add, total, means)), None

        (model_state, total), _ = jax.lax.scan(add, (variables.state, zeros), parts)
        return *jax.tree.map(lambda x: x / accumulate, total), model_state

    def step(state, batch):
        rng = jax.random.fold_in(jax.random.key(seed), state.step)
        *means, model_state = gradient(state.variables, rng, batch)
        grads, metrics = jax.lax.pmean(tuple(means), axis)
        params = state.variables.params
        updates, opt_state = optimizer.update(grads, state.opt_state, params)
        variables = Variables(optax.apply_updates(params, updates), model_state)
        ema = ema_update(state.ema, variables, state.step, ema_decay) if ema_decay else state.ema
        wrong = not_finite(inputs_of(batch), params, metrics["loss"], grads)
        metrics["not_finite"] = jax.lax.pmax(wrong, axis)  # inputs differ from device to device
        metrics["gradient_norm"] = optax.global_norm(grads)
        metrics["learning_rate"] = jnp.asarray(learning_rate(state.step))
        return TrainState(state.step + 1, variables, opt_state, ema), metrics

    return step


def make_eval_step(
    apply: Callable[[Variables, Batch], jax.Array],
    *,
    objective: Objective,
    windows: bool,
    axis: str,
) -> Callable[[Variables, Batch], tuple[Metrics, Metrics]]:
    """Builds the evaluation step.

    Args:
      apply: class logits [b, classes] of `Variables` and a batch.
      objective: loss and metrics; give it no label smoothing.
      windows: whether the inputs are [b, W, ...], W windows of each example, whose scores are
        averaged. The windows are taken one after another.
      axis: name of the axis of devices.

    Returns:
      A function of the variables and a device's share of the batch, inputs, labels and 'mask',
      float [b], to two dicts: sums over the examples of all devices where the mask is 1, of loss,
      the objective's metrics and num_examples; and of the examples of all devices 'index' and
      'mask' [B], with 'logits' and 'labels' [B, classes] where the objective keeps scores, else
      what `perceiver.training.example_scores.of_one_label` gives.
    """

    def all_logits(variables, batch):
        if not windows:
            return apply(variables, batch)
        others = {name: x for name, x in batch.items() if name in _NO_INPUTS}
        inputs = {name: jnp.moveaxis(x, 1, 0) for name, x in inputs_of(batch).items()}
        of_windows = jax.lax.map(lambda window: apply(variables, others | window), inputs)
        return objective.average(of_windows)

    def step(variables, batch):
        logits, mask = all_logits(variables, batch), batch["mask"]
        each = {"loss": objective.loss(logits, batch), **objective.metrics(logits, batch)}
        each["num_examples"] = jnp.ones_like(mask)
        # A padded example may have any loss, NaN as well, which times 0 would not be 0.
        sums = {name: jnp.sum(jnp.where(mask > 0, x, 0)) for name, x in each.items()}
        if objective.keeps_scores:
            kept = {"logits": logits, "labels": batch["labels"]}
        else:
            kept = of_one_label(logits, batch["label"])
        kept |= {"index": batch["index"], "mask": mask}
        return jax.lax.psum(sums, axis), jax.lax.all_gather(kept, axis, tiled=True)

    return step
