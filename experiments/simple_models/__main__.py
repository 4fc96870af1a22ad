"""Fits a linear model and a nearest neighbour to the inputs of a network, for comparison.

Both are fitted to the training split without augmentation and measured on the evaluation split. Not
in the paper.
"""

import argparse
import dataclasses
import functools
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from experiments.cli.main import run
from experiments.cli.parser import Parser
from experiments.run.directory import prepare_workdir
from experiments.run.from_config import check_data, data_options, from_config
from experiments.simple_models.features import features as features_of
from perceiver.data import registry
from perceiver.data.dataset import Source
from perceiver.errors import InputError
from perceiver.training.average_precision import mean_average_precision
from perceiver.training.logging.metrics import write_json

_MOST_BYTES = 4e9  # features; fitting takes four times as much
_INPUTS_AT_ONCE = 64  # small, because windows of video are large
_STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # values of C of the linear model
_FOLDS = 5
_ITERATIONS = 1000


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.simple_models",
        """Fits a linear model and a nearest neighbour to a config's data, for comparison.

With --workdir it also writes the results to simple_models.json there.""",
        examples=["--config=configs/digits.py"],
    )
    parser.add_config()
    parser.add_workdir("folder for simple_models.json", required=False)
    return parser


def main(options: argparse.Namespace) -> None:
    """Reads the data, fits both models and prints their results."""
    config, workdir = options.config, options.workdir
    experiment = from_config(config)
    one_label = experiment.objective.label == "label"
    folder = None if workdir is None else prepare_workdir(workdir)

    dataset = registry.load(**data_options(config))
    check_data(experiment, dataset)
    modalities, num_classes = tuple(config.model.inputs), len(dataset.class_names)
    check_size([dataset.train, dataset.eval], modalities)
    began = time.monotonic()
    train, held = (read_features(s, modalities, num_classes) for s in (dataset.train, dataset.eval))
    if not _differ(train.labels):
        raise InputError("all training examples have the same labels; there is nothing to learn")
    count, width = held.features.shape
    print(
        f"{len(train.features):,} training and {count:,} evaluation examples, {width:,} features "
        f"of {', '.join(modalities)}, read in {time.monotonic() - began:.1f} s"
    )

    present = int(held.labels.any(axis=0).sum())
    if not one_label:
        print(f"mAP is over the {present:,} of {num_classes:,} classes present in evaluation")
    print(f"{'model':<20}{'top-1' if one_label else 'mAP':>8}{'n':>9}{'seconds':>10}")
    results = {}
    models: dict[str, Callable[[LabelledFeatures, np.ndarray], tuple[np.ndarray, str]]] = {
        "linear": functools.partial(linear, one_label=one_label),
        "nearest neighbour": nearest_neighbour,
    }
    for name, fit in models.items():
        began = time.monotonic()
        scores, note = fit(train, held.features)
        value = score(scores, held.labels, one_label=one_label)
        seconds = time.monotonic() - began
        results[name] = {"top1" if one_label else "mAP": value, "seconds": seconds, "note": note}
        print(f"{name:<20}{value:>8.2%}{count:>9,}{seconds:>10.1f}  {note}".rstrip(), flush=True)
    if folder:
        sizes = {"num_examples": count, "train_examples": len(train.labels), "features": width}
        if not one_label:
            sizes["num_classes"] = present
        write_json(folder / "simple_models.json", {**sizes, "models": results})
        print(f"result: {folder / 'simple_models.json'}")


@dataclasses.dataclass(frozen=True)
class LabelledFeatures:
    """Features and labels of all examples of a split.

    Attributes:
      features: float32 [examples, features].
      labels: uint8 [examples, classes], 1 for each class of the example.
      widths: number of features of each modality, in their order.
    """

    features: np.ndarray
    labels: np.ndarray
    widths: tuple[int, ...]


def check_size(sources: Sequence[Source], modalities: Sequence[str]) -> None:
    """Checks that fitting fits into memory, by the size of one example.

    Fitting takes about four times the memory of the features: for all of them, for those of four
    of five folds, for their standardised values, and for a copy that scikit-learn makes.

    Raises:
      InputError: the features of all examples take more than 4 GB.
    """
    one = dataclasses.replace(sources[-1], num_examples=1)
    width = read_features(one, modalities, num_classes=None).features.shape[1]
    count = sum(source.num_examples for source in sources)
    size = count * width * np.dtype(np.float32).itemsize
    if size > _MOST_BYTES:
        raise InputError(
            f"{count:,} examples of {width:,} features take {size / 1e9:,.1f} GB, and four times "
            f"as much in fitting; {_MOST_BYTES / 1e9:.0f} GB are the most: take smaller inputs or "
            "fewer examples"
        )


def read_features(
    source: Source, modalities: Sequence[str], num_classes: int | None
) -> LabelledFeatures:
    """Reads the features of all examples without augmentation, averaged over windows.

    Args:
      source: examples of the split.
      modalities: inputs of the network; their features are concatenated.
      num_classes: number of classes of the data set; None leaves the labels out.

    Raises:
      InputError: a file cannot be read; the error names it.
    """
    features = labels = None
    widths: tuple[int, ...] = ()
    done = 0
    windows = source.eval_windows > 0
    batch_size = max(1, _INPUTS_AT_ONCE // max(1, source.eval_windows))
    for batch in source.eval_batches(batch_size=batch_size):
        count = int(batch["mask"].sum())
        parts = [features_of(name, batch[name][:count], windows=windows) for name in modalities]
        if features is None or labels is None:
            widths = tuple(part.shape[1] for part in parts)
            features = np.empty((source.num_examples, sum(widths)), np.float32)
            labels = np.zeros((source.num_examples, num_classes or 0), np.uint8)
        rows = slice(done, done + count)
        np.concatenate(parts, axis=1, out=features[rows], casting="same_kind")
        if num_classes is not None:
            if "labels" in batch:
                labels[rows] = batch["labels"][:count]
            else:
                labels[rows][np.arange(count), batch["label"][:count]] = 1
        done += count
    assert features is not None  # a split has at least one example
    assert labels is not None
    return LabelledFeatures(features, labels, widths)


def nearest_neighbour(train: LabelledFeatures, features: np.ndarray) -> tuple[np.ndarray, str]:
    """Predicts the labels of the training example with the nearest features.

    The distance is Euclidean. If there are several modalities, the features of each are divided by
    their standard deviation, a single number, so that all modalities matter.

    Args:
      train: training examples.
      features: [examples, features] to predict for.

    Returns:
      Scores [examples, classes], and an empty note.
    """
    known = train.features
    if len(train.widths) > 1:
        parts = np.split(known, np.cumsum(train.widths)[:-1], axis=1)
        scale = np.repeat(np.array([part.std() or 1 for part in parts], np.float32), train.widths)
        known, features = known / scale, features / scale
    finder = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(known)
    found = finder.kneighbors(features, return_distance=False)[:, 0]
    return train.labels[found], ""


def linear(
    train: LabelledFeatures, features: np.ndarray, *, one_label: bool
) -> tuple[np.ndarray, str]:
    """Fits a logistic regression with the C that is best in cross-validation.

    Args:
      train: training examples.
      features: [examples, features] to predict for.
      one_label: True if each example has exactly one class.

    Returns:
      Scores [examples, classes], and a note with the value of C.
    """
    strength = choose_strength(train, one_label=one_label)
    scores, iterations = logistic(train, features, one_label=one_label, strength=strength)
    stopped = f", stopped at {_ITERATIONS:,} iterations" if iterations >= _ITERATIONS else ""
    return scores, f"C = {strength:g}{stopped}"


def logistic(
    train: LabelledFeatures, features: np.ndarray, *, one_label: bool, strength: float
) -> tuple[np.ndarray, int]:
    """Fits a logistic regression to standardised features; with several labels one for each class.

    A class of all or of no training examples cannot be learned. With one label its score is the
    lowest, with several labels it is the same for all examples.

    Args:
      train: training examples.
      features: [examples, features] to predict for.
      one_label: True if each example has exactly one class.
      strength: C, the inverse of the strength of regularisation.

    Returns:
      Scores [examples, classes], and the number of iterations.
    """
    scaler = StandardScaler().fit(train.features)
    known, features = scaler.transform(train.features), scaler.transform(features)
    model = LogisticRegression(C=strength, max_iter=_ITERATIONS)
    shape, iterations = (len(features), train.labels.shape[1]), 0
    # One thread: two threads on two busy cores wait for each other, and digits took 60 s, not 0.2.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are reported
        if one_label:
            model.fit(known, train.labels.argmax(axis=1))
            learned = model.decision_function(features)
            scores = np.full(shape, -np.inf)
            # For two classes scikit-learn returns the score of the second only.
            two = learned.ndim == 1
            scores[:, model.classes_] = np.stack([-learned, learned], 1) if two else learned
            return scores, int(model.n_iter_.max())
        scores = np.zeros(shape)
        for k, there in enumerate(train.labels.T):
            if 0 < there.sum() < len(there):
                model.fit(known, there)
                scores[:, k] = model.decision_function(features)
                iterations = max(iterations, int(model.n_iter_.max()))
    return scores, iterations


def choose_strength(train: LabelledFeatures, *, one_label: bool) -> float:
    """Chooses C from powers of ten from 0.001 to 10 by cross-validation in the training split.

    Values are tried upwards until one is worse than the best. Every fifth example of a class is in
    the same of 5 folds. With several labels every fifth of all examples is, and only one fold is
    used.

    Returns:
      The C with the best mean score; 1 if there are too few examples for a fold.
    """
    fold = np.zeros(len(train.labels), int)
    for of_class in train.labels.T if one_label else [np.ones(len(fold))]:
        fold[of_class > 0] = np.arange(np.count_nonzero(of_class)) % _FOLDS
    masks = [fold == k for k in range(_FOLDS)]
    masks = [held for held in masks if train.labels[held].any() and _differ(train.labels[~held])]
    if not one_label:
        masks = masks[:1]  # a model for each of 527 classes is slow
    best, chosen = 0.0, 1.0
    for strength in _STRENGTHS if masks else ():
        of_folds = []
        for held in masks:
            part = LabelledFeatures(train.features[~held], train.labels[~held], train.widths)
            scores, _ = logistic(part, train.features[held], one_label=one_label, strength=strength)
            of_folds.append(score(scores, train.labels[held], one_label=one_label))
        if np.mean(of_folds) < best:
            break
        if np.mean(of_folds) > best:
            best, chosen = np.mean(of_folds), strength
    return chosen


def _differ(labels: np.ndarray) -> bool:
    """Returns whether the examples have different labels."""
    return bool((labels != labels[:1]).any())


def score(scores: np.ndarray, labels: np.ndarray, *, one_label: bool) -> float:
    """Returns the top-1 accuracy, or with several labels the mAP over classes with examples.

    Args:
      scores: [examples, classes].
      labels: [examples, classes] of 0 and 1.
      one_label: True if each example has exactly one class.
    """
    if one_label:
        return float((scores.argmax(axis=1) == labels.argmax(axis=1)).mean())
    return mean_average_precision(scores, labels)[0]


if __name__ == "__main__":
    run(main, parser())
