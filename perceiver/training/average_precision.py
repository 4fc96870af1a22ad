"""Mean average precision over classes, the metric of AudioSet (Sec. 4.2, Table 3)."""

import numpy as np


def average_precisions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the average precision of each class, float64 [classes]; NaN without positives.

    Args:
      scores: scores [examples, classes]; higher is more likely.
      labels: labels [examples, classes] of 0 and 1.

    Raises:
      ValueError: the shapes differ.
      FloatingPointError: a score is not finite, or no class has a positive example.
    """
    if scores.shape != labels.shape or scores.ndim != 2:
        raise ValueError(
            f"scores {scores.shape} and labels {labels.shape} must both be [examples, classes]"
        )
    present = labels.any(axis=0)
    if not present.any():
        raise FloatingPointError("no class has a positive example: there is no mAP; see the data")
    broken = ~np.isfinite(scores).all(axis=1)
    if broken.any():
        raise FloatingPointError(
            f"the scores of {broken.sum():,} of {len(scores):,} examples are no numbers"
        )
    from sklearn.metrics import average_precision_score  # the import takes most of a second

    precisions = np.full(labels.shape[1], np.nan)
    precisions[present] = average_precision_score(
        labels[:, present], scores[:, present], average=None
    )
    return precisions


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """Returns the mean average precision over the classes that have a positive example.

    The first version of the paper exchanged examples and classes here, which gave wrong numbers. A
    class without positive examples has no average precision and is left out.

    Args:
      scores: scores [examples, classes]; higher is more likely.
      labels: labels [examples, classes] of 0 and 1.

    Returns:
      (the mean, the number of classes in it).

    Raises:
      ValueError, FloatingPointError: see `average_precisions`.
    """
    return mean_of(average_precisions(scores, labels))


def mean_of(precisions: np.ndarray) -> tuple[float, int]:
    """Returns the mean of `average_precisions` without NaN, and the number of classes in it."""
    present = precisions[~np.isnan(precisions)]
    return float(present.mean()), len(present)
