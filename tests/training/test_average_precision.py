"""Mean average precision against values computed by hand."""

import numpy as np
import pytest

from perceiver.training.average_precision import mean_average_precision


def test_against_values_computed_by_hand():
    """Class 0: positives at ranks 1 and 3, (1/1 + 2/3) / 2; class 1: at rank 2, 1/2; 2: none."""
    scores = np.array([[0.9, 0.5, 0.1], [0.8, 0.9, 0.2], [0.7, 0.1, 0.3], [0.1, 0.2, 0.4]])
    labels = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]])
    value, classes = mean_average_precision(scores, labels)
    assert classes == 2
    assert value == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)


def test_examples_and_classes_are_not_exchanged():
    """The first version of the paper exchanged them, which gives another value."""
    draw = np.random.default_rng(0)
    labels = draw.random((40, 40)) < 0.2
    scores = labels * draw.random((1, 40)) + draw.random((40, 40)) * draw.random((1, 40))
    ranked = []
    for of_class, truth in zip(scores.T, labels.T, strict=True):
        hits = truth[np.argsort(-of_class)]
        ranked.append((np.cumsum(hits) / np.arange(1, 41))[hits].mean())
    value, classes = mean_average_precision(scores, labels)
    assert classes == 40
    assert value == pytest.approx(np.mean(ranked))
    assert abs(mean_average_precision(scores.T, labels.T)[0] - value) > 0.02


def test_scores_without_average_precision_are_refused():
    with pytest.raises(FloatingPointError, match="no class has a positive"):
        mean_average_precision(np.ones((3, 2)), np.zeros((3, 2), int))
    with pytest.raises(ValueError, match=r"\(3, 2\) and labels \(2, 3\)"):
        mean_average_precision(np.ones((3, 2)), np.ones((2, 3), int))
    with pytest.raises(FloatingPointError, match="scores of 1 of 3 examples are no numbers"):
        mean_average_precision(np.array([[1, 2], [np.nan, np.nan], [3, 4]]), np.ones((3, 2), int))
