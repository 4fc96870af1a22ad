"""What is kept of the scores of each example in evaluation; few numbers, as they are gathered."""

import jax
import jax.numpy as jnp

MOST_CLASSES = 5  # those of top-5


def of_one_label(logits: jax.Array, label: jax.Array) -> dict[str, jax.Array]:
    """The likeliest classes of each example, and how likely its own is.

    Of classes that are equally likely the first comes first, the label's own last: it is the first
    of all exactly where `top_k_correct` counts the example for top-1, unless a score is no number.

    Args:
      logits: [B, classes], any float dtype.
      label: [B] integers.

    Returns:
      'label' int32 [B]; 'classes' int32 [B, k], the k = min(5, classes) likeliest, in order;
      'probabilities' float32 [B, k], theirs; 'label_probability' float32 [B].
    """
    logits, label = logits.astype(jnp.float32), label.astype(jnp.int32)
    k = min(MOST_CLASSES, logits.shape[-1])
    own = jnp.take_along_axis(logits, label[:, None], axis=-1)  # [B, 1]
    is_own = jnp.arange(logits.shape[-1]) == label[:, None]  # [B, classes]
    scores, others = jax.lax.top_k(jnp.where(is_own, -jnp.inf, logits), k)  # [B, k]
    place = jnp.sum(scores >= own, axis=-1, keepdims=True)  # of the label, behind its equals
    at = jnp.arange(k)
    # Not as slices of the others: XLA would take them for a sort of all classes, which is slow.
    moved = jnp.take_along_axis(others, at - (at > place), axis=-1)
    classes = jnp.where(at == place, label[:, None], moved)
    probabilities = jax.nn.softmax(logits)
    return {
        "label": label,
        "classes": classes.astype(jnp.int32),
        "probabilities": jnp.take_along_axis(probabilities, classes, axis=-1),
        "label_probability": jnp.take_along_axis(probabilities, label[:, None], axis=-1)[:, 0],
    }
