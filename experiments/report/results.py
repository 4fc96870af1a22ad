"""Results by class as parts of a web page: confusions, accuracies and average precisions."""

import numpy as np
from markupsafe import Markup

from experiments.report.elements import details, joined, matrix, note, table
from experiments.run.predictions import ManyLabels, OneLabel, Predictions

MOST_IN_MATRIX = 50  # classes
_MOST_PAIRS = 25  # rows of the list of confused classes
_ENDS = 12  # classes with the highest and the lowest average precision


class Names:
    """The names of classes, or their numbers where names are not known."""

    def __init__(self, names: tuple[str, ...]):
        """Takes names in the order of the labels; an empty tuple if they are not known."""
        self._names = names

    def __getitem__(self, number: int) -> str:
        """Returns the name of a class."""
        return self._names[number] if number < len(self._names) else f"class {number}"

    def __len__(self) -> int:
        return len(self._names)


def classes(predictions: Predictions, names: Names) -> tuple[str, Markup]:
    """Returns the heading and content of the section on results by class.

    With one label an example it shows confusions, with several labels average precisions.
    """
    if isinstance(predictions, ManyLabels):
        return "Classes", _precisions(predictions, names)
    counts = confusion(predictions, len(names))
    wrong = int((~predictions.known).sum())
    broken = note(f"{wrong:,} examples have scores that are not finite; they are left out here.")
    if len(counts) <= MOST_IN_MATRIX:
        content = _matrix(counts, names)
    else:
        content = _pairs(counts, names)
    parts = [content, broken if wrong else None, details("Every class", _accuracies(counts, names))]
    return "Confusions", joined(parts)


def confusion(predictions: OneLabel, num_classes: int = 0) -> np.ndarray:
    """Returns the confusion matrix.

    Args:
      predictions: E examples; those with scores that are not finite are left out.
      num_classes: number of classes; the matrix is larger if a larger label occurs.

    Returns:
      int64 [classes, classes]: rows are labels, columns are predictions.
    """
    label = predictions.label[predictions.known]
    predicted = predictions.classes[predictions.known, 0]
    most = int(max(label.max(initial=0), predicted.max(initial=0)))
    count = max(num_classes, most + 1)
    return np.bincount(label * count + predicted, minlength=count * count).reshape(count, count)


def _matrix(counts: np.ndarray, names: Names) -> Markup:
    labels = [names[i] for i in range(len(counts))]
    totals = counts.sum(axis=1)

    def hover_text(i: int, j: int) -> str:
        outcome = "right" if i == j else f"taken for {labels[j]}"
        return f"{labels[i]}, {outcome}: {counts[i, j]:,} of {totals[i]:,}"

    legend = note(
        "Rows are the true classes, columns the predicted ones. Colours show shares of a row, "
        "green where the prediction is right, red where it is wrong."
    )
    return joined([legend, matrix(counts.tolist(), labels, hover_text)])


def _pairs(counts: np.ndarray, names: Names) -> Markup:
    """Returns a table of the pairs of classes that are confused most often."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    totals = counts.sum(axis=1)
    rows = [
        [names[i], names[j], f"{counts[i, j]:,}", f"{counts[i, j] / totals[i]:.1%}"]
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[i, j]
    ]
    if not rows:
        return note("No example was taken for another class.")
    legend = note(f"The {len(rows)} pairs that were confused most often.")
    return joined([legend, table([["true", "predicted", "examples", "of the class"], *rows])])


def _accuracies(counts: np.ndarray, names: Names) -> Markup:
    """Returns a table of the accuracy and precision of every class, the lowest accuracy first."""
    totals = counts.sum(axis=1)
    present = np.flatnonzero(totals)
    shares = counts.diagonal()[present] / totals[present]
    order = present[np.argsort(shares, kind="stable")]
    predicted = counts.sum(axis=0)
    rows = [
        [
            names[i],
            f"{counts[i, i] / totals[i]:.1%}",
            f"{counts[i, i]:,} of {totals[i]:,}",
            f"{counts[i, i] / predicted[i]:.1%}" if predicted[i] else "-",
        ]
        for i in order
    ]
    return table([["class", "accuracy", "examples", "precision"], *rows])


def _precisions(predictions: ManyLabels, names: Names) -> Markup:
    """Returns tables of average precisions: the highest, the lowest, and those of all classes."""
    precision = predictions.average_precision
    counts = np.bincount(predictions.labels, minlength=len(precision))
    present = np.flatnonzero(~np.isnan(precision))
    order = present[np.argsort(precision[present], kind="stable")]

    def table_of(numbers: np.ndarray) -> Markup:
        rows = [[names[i], f"{precision[i]:.1%}", f"{counts[i]:,}"] for i in numbers]
        return table([["class", "average precision", "examples"], *rows])

    absent = len(precision) - len(present)
    missing = note(f"{absent:,} classes are in no example; they have no average precision.")
    parts = [missing if absent else None]
    few = len(order) <= 2 * _ENDS
    if not few:
        parts.append(details("Found best", table_of(order[::-1][:_ENDS]), open_=True))
        parts.append(details("Found worst", table_of(order[:_ENDS]), open_=True))
    return joined([*parts, details("Every class", table_of(order), open_=few)])
