"""Losses and metrics: one label per example (Sections 4.1 and 4.3), or several.

With several labels (AudioSet, Sec. 4.2) the classes are independent, and each has a sigmoid.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp
import optax

from perceiver.errors import InputError
from perceiver.names import look_up
from perceiver.training.losses import softmax_cross_entropy, top_k_correct

Batch = dict[str, jax.Array]


class Objective(Protocol):
    """A loss and its metrics.

    Attributes:
      label: key of the labels in a batch.
      metric: name of the metric by which checkpoints are compared; higher is better.
      keeps_scores: True if `metric` needs the scores of all examples at once.
    """

    label: str
    metric: str
    keeps_scores: bool

    def loss(self, logits: jax.Array, batch: Batch) -> jax.Array:
        """Returns the loss of each example, [B], from logits [B, classes] and the labels."""

    def metrics(self, logits: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        """Returns the metrics that are defined for a single example, arrays [B]."""

    def average(self, logits: jax.Array) -> jax.Array:
        """Returns the logits [B, classes] of the mean scores of W windows [W, B, classes]."""


@dataclasses.dataclass(frozen=True)
class OneLabel:
    """Softmax cross-entropy of 'label' [B]; top-1 and top-5.

    A batch of mixed examples has 'other_label' [B] and 'label_weight' [B], the weight of 'label' in
    the target. Accuracy is always computed for 'label'.

    Attributes:
      label_smoothing: smoothing of the training labels, at least 0 and below 1.
    """

    label_smoothing: float = 0.0
    label = "label"
    metric = "top1"
    keeps_scores = False

    def loss(self, logits, batch):
        """See `Objective`."""
        own = softmax_cross_entropy(logits, batch["label"], self.label_smoothing)
        if "other_label" not in batch:
            return own
        other = softmax_cross_entropy(logits, batch["other_label"], self.label_smoothing)
        return batch["label_weight"] * own + (1 - batch["label_weight"]) * other

    def metrics(self, logits, batch):
        """See `Objective`."""
        return {f"top{k}": top_k_correct(logits, batch["label"], k) for k in (1, 5)}

    def average(self, logits):
        """See `Objective`."""
        return _log_mean_exp(jax.nn.log_softmax(logits.astype(jnp.float32)))


@dataclasses.dataclass(frozen=True)
class ManyLabels:
    """Sigmoid cross-entropy of 'labels' [B, classes], 0 or 1, averaged over the classes; mAP."""

    label = "labels"
    metric = "mAP"
    keeps_scores = True

    def loss(self, logits, batch):
        """See `Objective`."""
        labels = batch["labels"].astype(jnp.float32)
        losses = optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), labels)
        return losses.mean(axis=-1)

    def metrics(self, logits, batch):
        """See `Objective`; the mean average precision of a single example is not defined."""
        del logits, batch
        return {}

    def average(self, logits):
        """See `Objective`."""
        logits = logits.astype(jnp.float32)
        yes, no = _log_mean_exp(jax.nn.log_sigmoid(logits)), _log_mean_exp(-jax.nn.softplus(logits))
        return yes - no


def make_objective(name: str, *, label_smoothing: float) -> Objective:
    """Returns the objective named 'softmax' or 'sigmoid'.

    Raises:
      InputError: an unknown name, a smoothing out of range, or one with 'sigmoid', which has none.
    """
    objective = look_up({"softmax": OneLabel, "sigmoid": ManyLabels}, name, what="loss")
    if objective is OneLabel:
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing is {label_smoothing}; give at least 0 and below 1")
        return OneLabel(label_smoothing)
    if label_smoothing:
        raise InputError(
            f"label_smoothing is {label_smoothing}; the sigmoid loss has none: set it to 0"
        )
    return ManyLabels()


def _log_mean_exp(x: jax.Array) -> jax.Array:
    """Returns log(mean(exp(x))) over the first axis."""
    return jax.nn.logsumexp(x, axis=0) - jnp.log(x.shape[0])
