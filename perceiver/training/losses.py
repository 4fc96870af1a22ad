"""Softmax cross-entropy and top-k accuracy, one number an example (Sections 4.1 and 4.3)."""

import jax
import jax.numpy as jnp


def softmax_cross_entropy(
    logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """Cross-entropy of softmax(logits) against integer labels, in nats.

    With smoothing s the target is (1 - s) on the label plus s / classes everywhere (Szegedy et al.,
    2016, Section 7).

    Args:
      logits: [B, classes], any float dtype; computed in float32.
      labels: [B] integers in [0, classes). One outside gives NaN, which a training loop notices,
        and not the loss of some other class.
      label_smoothing: s, at least 0 and below 1.

    Returns:
      [B] float32.

    Raises:
      ValueError: shapes that do not fit, or a smoothing out of range.
    """
    _check_shapes(logits, labels)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be at least 0 and below 1, not {label_smoothing}.")
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)  # [B, classes]
    loss = -_of_label(log_probabilities, labels)  # [B]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * jnp.mean(log_probabilities, axis=-1)
    return loss


def top_k_correct(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """Whether each label is among the k largest logits.

    Ties count against the model: a label is right only if fewer than k other classes have a logit
    at least as large, so constant logits are never right (unless k covers every class). A row with
    a NaN and a label outside [0, classes) are wrong. Where k is at least the number of classes
    every other row is right.

    Args:
      logits: [B, classes], any float dtype; compared in float32.
      labels: [B] integers.
      k: at least 1.

    Returns:
      [B] float32 of 0 and 1.

    Raises:
      ValueError: shapes that do not fit, or k below 1.
    """
    _check_shapes(logits, labels)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}.")
    logits = logits.astype(jnp.float32)
    own = _of_label(logits, labels)  # [B]
    at_least = jnp.sum(logits >= own[:, None], axis=-1)  # [B], the label's own class among them
    whole = ~jnp.any(jnp.isnan(logits), axis=-1) & ~jnp.isnan(own)
    return ((at_least <= k) & whole).astype(jnp.float32)


def _of_label(values: jax.Array, labels: jax.Array) -> jax.Array:
    """[B, classes] -> [B], the values at the labels; NaN where a label is out of range."""
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
