"""Mean average precision over classes, AudioSet's figure (Sec. 4.2, Table 3)."""

import numpy as np


def average_precisions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The average precision of each class, float64 [classes]; NaN where it has no positive example.

    Args:
      scores: [examples, classes], higher is likelier.
      labels: [examples, classes] of 0 and 1.

    Raises:
      ValueError: shapes that differ.
      FloatingPointError: scores that are no numbers, or no class has a positive.
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
    from sklearn.metrics import average_precision_score  # it takes most of a second to import

    precisions = np.full(len(present), np.nan)
    precisions[present] = average_precision_score(
        labels[:, present], scores[:, present], average=None
    )
    return precisions


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """The mean of the average precisions of the classes that have a positive example.

    The first version of the paper had examples and classes exchanged here, which gave wrong
    figures. A class without positives has no average precision and is left out.

    Args:
      scores: see `average_precisions`, as for what it raises.
      labels: see there.

    Returns:
      The mean, and how many classes it is over.
    """
    return mean_of(average_precisions(scores, labels))


def mean_of(precisions: np.ndarray) -> tuple[float, int]:
    """The mean of what `average_precisions` gives, and how many classes it is over."""
    present = precisions[~np.isnan(precisions)]
    return float(present.mean()), len(present)
