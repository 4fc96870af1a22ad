"""What a network said of each example in evaluation: predictions.npz in the workdir.

Written by training and by `experiments.evaluate` beside eval.json; plain arrays, nothing pickled.
"""

import io
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from perceiver.errors import InputError
from perceiver.training.average_precision import average_precisions
from perceiver.training.files import replace_file

FILE = "predictions.npz"
SPLITS = ("eval", "held_out")
_MOST_OF_MANY = 10  # classes of an example that may have several labels


class OneLabel(NamedTuple):
    """Of a data set with one label an example; E examples, in the order of their numbers.

    Attributes:
      index: int32 [E], the number in the split.
      label: int32 [E].
      classes: int32 [E, k], the likeliest, in order; see `perceiver.training.losses`.
      probabilities: float32 [E, k], theirs.
      label_probability: float32 [E], of the label.
    """

    index: np.ndarray
    label: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    label_probability: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Whether an example's scores are numbers, bool [E]; one whose are not counts as wrong."""
        return np.isfinite(self.label_probability) & np.isfinite(self.probabilities).all(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Whether the likeliest class is the label, bool [E]; the mean is the top-1 accuracy."""
        return self.known & (self.classes[:, 0] == self.label)


class ManyLabels(NamedTuple):
    """Of a data set with several labels an example; E examples, L labels of all together.

    Attributes:
      index: int32 [E], the number in the split.
      classes: int32 [E, k], the likeliest, in order; of equals the first.
      probabilities: float32 [E, k], theirs, each by itself.
      starts: int64 [E + 1]: the labels of example e are `labels[starts[e]:starts[e + 1]]`.
      labels: int32 [L].
      label_probabilities: float32 [L].
      average_precision: float64 [classes], NaN for those that no example has.
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
    """What is in a file.

    Attributes:
      step: of the training that the predictions were made after.
      split: 'eval', or 'held_out' for the part of the training split that was set apart.
      predictions: of its examples.
    """

    step: int
    split: str
    predictions: Predictions


def of_one_label(kept: dict[str, np.ndarray]) -> OneLabel:
    """Puts what an evaluation step kept, see `make_eval_step`, in the order of the examples."""
    order = np.argsort(kept["index"])
    return OneLabel(**{name: kept[name][order] for name in OneLabel._fields})


def of_many_labels(index: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> ManyLabels:
    """The likeliest classes of each example, those it has, and how well each class was found.

    Args:
      index: [E] integers, each example's number.
      logits: [E, classes].
      labels: [E, classes] of 0 and 1.

    Raises:
      FloatingPointError: see `average_precisions`.
    """
    precision = average_precisions(logits, labels)
    order = np.argsort(index)
    index, logits, labels = index[order], logits[order].astype(np.float32), labels[order] > 0
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :_MOST_OF_MANY]
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
    """Writes predictions.npz, whole or not at all.

    Raises:
      OSError: it can't be written.
    """
    (kind,) = (name for name, made in _KINDS.items() if isinstance(predictions, made))
    file = io.BytesIO()
    about = {"kind": np.array(kind), "step": np.array(step), "split": np.array(split)}
    np.savez_compressed(file, **about, **predictions._asdict())
    replace_file(workdir / FILE, file.getvalue())


def read(workdir: Path) -> Saved | None:
    """Reads predictions.npz; None where there is none.

    Raises:
      InputError: it can't be read, or is not as it should be.
    """
    path = workdir / FILE
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
    """What does not fit together."""
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
    """Without overflow."""
    powers = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, powers) / (1 + powers)
