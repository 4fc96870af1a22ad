"""What a network got right and wrong, class by class, as parts of a web page."""

import numpy as np

from experiments.report.html import Html, details, joined, matrix, note, table
from experiments.run.predictions import ManyLabels, OneLabel, Predictions

MOST_IN_MATRIX = 50  # classes
_PAIRS = 25  # of classes that are confused
_ENDS = 12  # classes that are found best and worst


class Names:
    """What classes are called; by their numbers where it is not known."""

    def __init__(self, names: tuple[str, ...]):
        """Takes names in the order of the labels; none if they are not known."""
        self._names = names

    def __getitem__(self, number: int) -> str:
        """The name of a class."""
        return self._names[number] if number < len(self._names) else f"class {number}"

    def __len__(self) -> int:
        return len(self._names)


def classes(predictions: Predictions, names: Names) -> tuple[str, Html]:
    """Heading and content: which classes are taken for which, or how well each is found."""
    if isinstance(predictions, ManyLabels):
        return "Classes", _precisions(predictions, names)
    counts = confusion(predictions, len(names))
    wrong = int((~predictions.known).sum())
    broken = note(f"{wrong:,} examples have scores that are no numbers; they are left out here.")
    if len(counts) <= MOST_IN_MATRIX:
        content = _matrix(counts, names)
    else:
        content = _pairs(counts, names)
    parts = [content, broken if wrong else None, details("Every class", _accuracies(counts, names))]
    return "Confusions", joined(parts)


def confusion(predictions: OneLabel, num_classes: int = 0) -> np.ndarray:
    """How many examples of each class were taken for each.

    Args:
      predictions: E examples; those whose scores are no numbers are left out.
      num_classes: how many there are, or more where a larger label is found.

    Returns:
      int64 [classes, classes], rows are the labels.
    """
    label = predictions.label[predictions.known]
    said = predictions.classes[predictions.known, 0]
    most = int(max(label.max(initial=0), said.max(initial=0)))
    count = max(num_classes, most + 1)
    return np.bincount(label * count + said, minlength=count * count).reshape(count, count)


def _matrix(counts: np.ndarray, names: Names) -> Html:
    labels = [names[i] for i in range(len(counts))]
    totals = counts.sum(axis=1)

    def told(i: int, j: int) -> str:
        what = "right" if i == j else f"taken for {labels[j]}"
        return f"{labels[i]}, {what}: {counts[i, j]:,} of {totals[i]:,}"

    legend = note(
        "Rows are the true classes, columns what the network said; a row's colours are shares of "
        "its examples, green where right, red where wrong."
    )
    return joined([legend, matrix(counts.tolist(), labels, told)])


def _pairs(counts: np.ndarray, names: Names) -> Html:
    """The pairs that are confused most often."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    totals = counts.sum(axis=1)
    rows = [
        [names[i], names[j], f"{counts[i, j]:,}", f"{counts[i, j] / totals[i]:.1%}"]
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[i, j]
    ]
    if not rows:
        return note("No example was taken for another class.")
    legend = note(f"The {len(rows)} pairs that were confused most often.")
    return joined([legend, table([["true", "said", "examples", "of the class"], *rows])])


def _accuracies(counts: np.ndarray, names: Names) -> Html:
    """Of every class how many of its examples were right, the lowest first."""
    totals = counts.sum(axis=1)
    present = np.flatnonzero(totals)
    shares = counts.diagonal()[present] / totals[present]
    order = present[np.argsort(shares, kind="stable")]
    said = counts.sum(axis=0)
    rows = [
        [
            names[i],
            f"{counts[i, i] / totals[i]:.1%}",
            f"{counts[i, i]:,} of {totals[i]:,}",
            f"{counts[i, i] / said[i]:.1%}" if said[i] else "-",
        ]
        for i in order
    ]
    head = ["class", "right", "examples", "right where said"]
    return table([head, *rows])


def _precisions(predictions: ManyLabels, names: Names) -> Html:
    """Average precision of every class that is there, those found worst and best first."""
    precision = predictions.average_precision
    counts = np.bincount(predictions.labels, minlength=len(precision))
    present = np.flatnonzero(~np.isnan(precision))
    order = present[np.argsort(precision[present], kind="stable")]

    def of(chosen: np.ndarray) -> Html:
        rows = [[names[i], f"{precision[i]:.1%}", f"{counts[i]:,}"] for i in chosen]
        return table([["class", "average precision", "examples"], *rows])

    absent = len(precision) - len(present)
    missing = note(f"{absent:,} classes are in no example; they have no figure.")
    parts = [missing if absent else None]
    few = len(order) <= 2 * _ENDS
    if not few:
        parts.append(details("Found best", of(order[::-1][:_ENDS]), open_=True))
        parts.append(details("Found worst", of(order[:_ENDS]), open_=True))
    return joined([*parts, details("Every class", of(order), open_=few)])
