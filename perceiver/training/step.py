"""Builds the training step and the evaluation step, functions of trees (Sec. 4.1, 'Optimization').

The steps depend on devices only through the name of an axis to average over.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from perceiver.training.finite import not_finite
from perceiver.training.losses import top_predictions
from perceiver.training.objectives import Objective
from perceiver.training.optimizer import ema_update

# Entries of a batch that are not inputs of the network.
_NON_INPUTS = ("label", "labels", "other_label", "label_weight", "index", "mask")

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


def inputs_of(batch: Batch) -> Batch:
    """Returns the entries of a batch that are inputs of the network."""
    return {name: x for name, x in batch.items() if name not in _NON_INPUTS}


class Variables(NamedTuple):
    """The variables of a model.

    Attributes:
      params: parameters.
      state: the Haiku state, moving averages of BatchNorm; empty for a Perceiver.
    """

    params: Any
    state: Any


# Parts of a `TrainState` for evaluation; the first one that is not empty is used.
EVALUATED = ("ema", "variables")


class TrainState(NamedTuple):
    """The state that a training step reads and writes.

    Attributes:
      step: number of completed steps, int32.
      variables: variables of the model.
      opt_state: state of the optimiser.
      ema: exponential moving average of the variables; empty if it is not used.
    """

    step: jax.Array
    variables: Variables
    opt_state: Any
    ema: Any

    def for_evaluation(self) -> Variables:
        """Returns the averaged variables if they exist, else the variables."""
        return self.ema or self.variables


def init_state(
    variables: Variables, optimizer: optax.GradientTransformation, *, ema: bool
) -> TrainState:
    """Returns the state before the first step; the average starts at the initial variables."""
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
      apply: function of (params, state, random key, batch, True) that returns class logits
        [b, classes] and the next state, which must be the same on all devices.
      optimizer: optimiser.
      learning_rate: schedule of the learning rate, for the metrics.
      objective: loss and metrics.
      seed: seed that, with the step, determines the random key of the model.
      ema_decay: decay of the moving average of the variables, 0 for no average.
      accumulate: number of parts into which the batch of a device is split, to save memory. The
        gradient is that of the whole batch, except with BatchNorm, which normalises each part
        separately. The state is updated by one part after another.
      axis: name of the device axis.

    Returns:
      A function of (state, batch of a device with inputs and labels) that returns the next state
      and metrics averaged over all devices: loss, the metrics of the objective, gradient_norm and
      learning_rate; and not_finite, bool [parts], see `perceiver.training.finite`.
    """

    def loss_fn(params, model_state, rng, batch):
        logits, model_state = apply(params, model_state, rng, batch, True)
        per_example = {"loss": objective.loss(logits, batch), **objective.metrics(logits, batch)}
        means = {name: x.mean() for name, x in per_example.items()}
        return means["loss"], (means, model_state)

    def gradient(variables, rng, batch):
        """Returns the gradient, the metrics and the next state of the model."""

        def part_gradient(model_state, part):
            grads, (metrics, model_state) = jax.grad(loss_fn, has_aux=True)(
                variables.params, model_state, rng, part
            )
            return model_state, (grads, metrics)

        if accumulate == 1:
            model_state, means = part_gradient(variables.state, batch)
            return *means, model_state
        parts = jax.tree.map(lambda x: x.reshape(accumulate, -1, *x.shape[1:]), batch)
        _, first = jax.eval_shape(
            part_gradient, variables.state, jax.tree.map(lambda x: x[0], parts)
        )
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)

        def add(carry, part):
            model_state, total = carry
            model_state, means = part_gradient(model_state, part)
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
        flags = not_finite(inputs_of(batch), params, metrics["loss"], grads)
        metrics["not_finite"] = jax.lax.pmax(flags, axis)  # devices have different inputs
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
      apply: function of (`Variables`, batch) that returns class logits [b, classes].
      objective: loss and metrics, without label smoothing.
      windows: True if the inputs are [b, W, ...], W windows per example, whose scores are averaged.
        The windows are processed one after another.
      axis: name of the device axis.

    Returns:
      A function of (variables, batch of a device with inputs, labels and 'mask', float [b]) that
      returns two dicts. The first has sums over the examples of all devices with mask 1: loss, the
      metrics of the objective and num_examples. The second has 'index' and 'mask' [B] of the
      examples of all devices, and 'logits' and 'labels' [B, classes] if the objective keeps scores,
      else the result of `perceiver.training.losses.top_predictions`.
    """

    def all_logits(variables, batch):
        if not windows:
            return apply(variables, batch)
        others = {name: x for name, x in batch.items() if name in _NON_INPUTS}
        inputs = {name: jnp.moveaxis(x, 1, 0) for name, x in inputs_of(batch).items()}
        window_logits = jax.lax.map(lambda window: apply(variables, others | window), inputs)
        return objective.average(window_logits)

    def step(variables, batch):
        logits, mask = all_logits(variables, batch), batch["mask"]
        per_example = {"loss": objective.loss(logits, batch), **objective.metrics(logits, batch)}
        per_example["num_examples"] = jnp.ones_like(mask)
        # The loss of a padded example may be NaN, and NaN times 0 is not 0.
        sums = {name: jnp.sum(jnp.where(mask > 0, x, 0)) for name, x in per_example.items()}
        if objective.keeps_scores:
            predictions = {"logits": logits, "labels": batch["labels"]}
        else:
            predictions = top_predictions(logits, batch["label"])
        predictions |= {"index": batch["index"], "mask": mask}
        return jax.lax.psum(sums, axis), jax.lax.all_gather(predictions, axis, tiled=True)

    return step
