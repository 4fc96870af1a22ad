"""Softmax cross-entropy, top-k accuracy and top classes of each example (Sections 4.1 and 4.3)."""

import jax
import jax.numpy as jnp

_TOP_CLASSES = 5  # classes that `top_predictions` returns, enough for top-5


def softmax_cross_entropy(
    logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """Returns the cross-entropy of softmax(logits) and integer labels, in nats.

    With smoothing s the target is (1 - s) on the label plus s / classes everywhere (Szegedy et al.,
    2016, Section 7).

    Args:
      logits: logits [B, classes] in any float dtype; the loss is computed in float32.
      labels: integers [B] in [0, classes). A label out of range gives NaN, which a training loop
        detects, instead of the loss of another class.
      label_smoothing: s, at least 0 and below 1.

    Returns:
      The loss of each example, float32 [B].

    Raises:
      ValueError: the shapes do not match, or the smoothing is out of range.
    """
    _check_shapes(logits, labels)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be at least 0 and below 1, not {label_smoothing}.")
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)  # [B, classes]
    loss = -_take_labels(log_probabilities, labels)  # [B]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * jnp.mean(log_probabilities, axis=-1)
    return loss


def top_k_correct(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """Returns whether each label is among the k largest logits.

    Ties count against the model: a label is correct only if fewer than k other classes have a logit
    at least as large, so constant logits are never correct unless k covers every class. A row with
    a NaN and a label outside [0, classes) count as wrong. If k is at least the number of classes,
    every other row is correct.

    Args:
      logits: logits [B, classes] in any float dtype; they are compared in float32.
      labels: integers [B].
      k: number of largest logits, at least 1.

    Returns:
      1 for correct and 0 for wrong examples, float32 [B].

    Raises:
      ValueError: the shapes do not match, or k is below 1.
    """
    _check_shapes(logits, labels)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}.")
    logits = logits.astype(jnp.float32)
    label_logits = _take_labels(logits, labels)  # [B]
    rank = jnp.sum(logits >= label_logits[:, None], axis=-1)  # [B], from 1: the label counts too
    valid = ~jnp.any(jnp.isnan(logits), axis=-1) & ~jnp.isnan(label_logits)
    return ((rank <= k) & valid).astype(jnp.float32)


def top_predictions(logits: jax.Array, label: jax.Array) -> dict[str, jax.Array]:
    """Returns the most likely classes of each example and the probability of its label.

    Ties count against the model, as in `top_k_correct`: among classes with equal logits the label
    is last, and the others are in ascending order. So the label is the first class exactly if
    `top_k_correct` counts the example for top-1, unless a logit is NaN.

    Args:
      logits: logits [B, classes] in any float dtype.
      label: integers [B].

    Returns:
      'label', int32 [B]; 'classes', int32 [B, k], the k = min(5, classes) most likely classes in
      order; 'probabilities', float32 [B, k], of these classes; 'label_probability', float32 [B].
    """
    logits, label = logits.astype(jnp.float32), label.astype(jnp.int32)
    k = min(_TOP_CLASSES, logits.shape[-1])
    label_logit = jnp.take_along_axis(logits, label[:, None], axis=-1)  # [B, 1]
    is_label = jnp.arange(logits.shape[-1]) == label[:, None]  # [B, classes]
    scores, others = jax.lax.top_k(jnp.where(is_label, -jnp.inf, logits), k)  # [B, k]
    place = jnp.sum(scores >= label_logit, axis=-1, keepdims=True)  # of the label, after its equals
    at = jnp.arange(k)
    # Not with slices of `others`: XLA would then sort all classes, which is slow.
    shifted = jnp.take_along_axis(others, at - (at > place), axis=-1)
    classes = jnp.where(at == place, label[:, None], shifted)
    probabilities = jax.nn.softmax(logits)
    return {
        "label": label,
        "classes": classes.astype(jnp.int32),
        "probabilities": jnp.take_along_axis(probabilities, classes, axis=-1),
        "label_probability": jnp.take_along_axis(probabilities, label[:, None], axis=-1)[:, 0],
    }


def _take_labels(values: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the value at each label, [B, classes] -> [B]; NaN if the label is out of range."""
    classes = values.shape[-1]
    inside = (labels >= 0) & (labels < classes)
    chosen = jnp.take_along_axis(values, jnp.where(inside, labels, 0)[:, None], axis=-1)[:, 0]
    return jnp.where(inside, chosen, jnp.nan)


def _check_shapes(logits: jax.Array, labels: jax.Array) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits must be [B, classes] and labels [B], not {logits.shape} and {labels.shape}."
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be integers, not {labels.dtype}: give class indices.")
