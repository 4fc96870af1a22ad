"""Predictions for each example of an evaluation, stored in predictions.npz in the workdir.

Training and `experiments.evaluate` write it together with eval.json. It holds plain arrays, nothing
pickled.
"""

import dataclasses
import io
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from perceiver import run_files
from perceiver.errors import InputError
from perceiver.training.average_precision import average_precisions
from perceiver.training.files import replace_file

SPLITS = ("eval", "held_out")
_MOST_CLASSES = 10  # classes stored per example of a data set with several labels per example


@dataclasses.dataclass(frozen=True, eq=False)
class OneLabel:
    """Predictions for E examples with one label each, in the order of their numbers.

    Attributes:
      index: Number of each example in the split, int32 [E].
      label: Label, int32 [E].
      classes: Most likely classes, the most likely first, int32 [E, k]; see
        `perceiver.training.losses.top_predictions`.
      probabilities: Probabilities of `classes`, float32 [E, k].
      label_probability: Probability of the label, float32 [E].
    """

    index: np.ndarray
    label: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    label_probability: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """True for the examples with finite scores, bool [E]; the other examples count as wrong."""
        return np.isfinite(self.label_probability) & np.isfinite(self.probabilities).all(axis=1)

    @property
    def right(self) -> np.ndarray:
        """True where the most likely class is the label, bool [E]; its mean is top-1 accuracy."""
        return self.known & (self.classes[:, 0] == self.label)


@dataclasses.dataclass(frozen=True, eq=False)
class ManyLabels:
    """Predictions for E examples with several labels each, L labels in total.

    Attributes:
      index: Number of each example in the split, int32 [E].
      classes: Most likely classes, the most likely first, int32 [E, k]; ties in class order.
      probabilities: Independent probabilities of `classes`, float32 [E, k].
      starts: Offsets, int64 [E + 1]: the labels of example e are `labels[starts[e]:starts[e + 1]]`.
      labels: Labels, int32 [L].
      label_probabilities: Probabilities of `labels`, float32 [L].
      average_precision: Average precision of each class, float64 [classes]; NaN for a class that no
        example has.
    """

    index: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    label_probabilities: np.ndarray
    average_precision: np.ndarray


Predictions = OneLabel | ManyLabels
_KINDS = {"one label": OneLabel, "many labels": ManyLabels}


class Saved(NamedTuple):
    """The contents of a predictions file.

    Attributes:
      step: Training step of the evaluated parameters.
      split: 'eval', or 'held_out' for the held-out part of the training split.
      predictions: Predictions for the examples of the split.
    """

    step: int
    split: str
    predictions: Predictions


def one_label_predictions(outputs: dict[str, np.ndarray]) -> OneLabel:
    """Sorts the outputs of evaluation steps (see `make_eval_step`) by example number."""
    order = np.argsort(outputs["index"])
    names = (field.name for field in dataclasses.fields(OneLabel))
    return OneLabel(**{name: outputs[name][order] for name in names})


def many_label_predictions(index: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> ManyLabels:
    """Computes the most likely classes per example, and the average precision per class.

    Args:
      index: Number of each example, integers [E].
      logits: Class logits, [E, classes].
      labels: 1 for each class that an example has, otherwise 0, [E, classes].

    Raises:
      FloatingPointError: A score is not finite, or no class has an example.
    """
    precision = average_precisions(logits, labels)
    order = np.argsort(index)
    index, logits, labels = index[order], logits[order].astype(np.float32), labels[order] > 0
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :_MOST_CLASSES]
    examples, classes = np.nonzero(labels)
    return ManyLabels(
        index=index.astype(np.int32),
        classes=likeliest.astype(np.int32),
        probabilities=_sigmoid(np.take_along_axis(logits, likeliest, axis=1)),
        starts=np.concatenate([[0], np.cumsum(labels.sum(axis=1))]).astype(np.int64),
        labels=classes.astype(np.int32),
        label_probabilities=_sigmoid(logits[examples, classes]),
        average_precision=precision,
    )


def write(workdir: Path, step: int, split: str, predictions: Predictions) -> None:
    """Writes predictions.npz atomically.

    Raises:
      OSError: The file cannot be written.
    """
    (kind,) = (name for name, cls in _KINDS.items() if isinstance(predictions, cls))
    file = io.BytesIO()
    np.savez_compressed(file, kind=kind, step=step, split=split, **vars(predictions))
    replace_file(workdir / run_files.PREDICTIONS, file.getvalue())


def read(workdir: Path) -> Saved | None:
    """Reads predictions.npz; returns None if there is no such file.

    Raises:
      InputError: The file cannot be read, or is damaged.
    """
    path = workdir / run_files.PREDICTIONS
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); evaluate again") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error
    try:
        kind = _KINDS[str(arrays.pop("kind"))]
        step, split = int(arrays.pop("step")), str(arrays.pop("split"))
        saved = Saved(step, split, kind(**arrays))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not of a version that is known here; evaluate again"
        ) from error
    if problem := _problem(saved):
        raise InputError(f"{path} is damaged ({problem}); evaluate again")
    return saved


def _problem(saved: Saved) -> str | None:
    """Returns a description of the first inconsistency in a file, or None."""
    predictions = saved.predictions
    examples = len(predictions.index) if predictions.index.ndim == 1 else 0
    sizes = {"classes": 2, "probabilities": 2, "label": 1, "label_probability": 1}
    if not examples or saved.split not in SPLITS:
        return "no example of a split"
    for name, dimensions in sizes.items():
        array = getattr(predictions, name, None)
        if array is not None and (array.ndim != dimensions or len(array) != examples):
            return f"{name} has the shape {array.shape}"
    if predictions.classes.shape != predictions.probabilities.shape or not predictions.classes.size:
        return f"classes have the shape {predictions.classes.shape}"
    if isinstance(predictions, ManyLabels):
        starts = predictions.starts
        if starts.shape != (examples + 1,) or starts[0] or (np.diff(starts) < 0).any():
            return "starts are not in order"
        if not len(predictions.labels) == len(predictions.label_probabilities) == starts[-1]:
            return f"labels are {len(predictions.labels)}"
        if predictions.average_precision.ndim != 1:
            return "no average precision of each class"
    return None


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    """Computes the logistic function without overflow."""
    powers = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, powers) / (1 + powers)
