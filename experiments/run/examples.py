"""Reads single examples of a data set as in training or in evaluation."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from experiments.figures.contact_sheets import INPUTS
from experiments.run.from_config import training_batches
from perceiver.data.dataset import Source

Example = dict[str, Any]


def training_examples(
    source: Source, config: ConfigDict, count: int, number: int | None
) -> list[Example]:
    """Returns the first examples that a run trains on.

    Args:
      source: The training split.
      config: The run's config, whose seed determines order and augmentation.
      count: Number of examples.
      number: The only example to return, in `count` augmentations; None for all examples.

    Returns:
      The features of each example by name, without the axis B.
    """
    # Mixed examples come in pairs.
    batch_size = count + count % 2 if source.mix_pair else count
    chosen = source if number is None else _only(source, number)
    batch = next(training_batches(config, chosen, batch_size=batch_size))
    if number is not None:
        batch["index"][:] = number
    return [{name: value[i] for name, value in batch.items()} for i in range(count)]


def evaluation_examples(source: Source, count: int, number: int | None) -> list[Example]:
    """Returns the first evaluated examples, each window as an example.

    Args:
      source: The evaluation split.
      count: Largest number of windows, or of examples if there are no windows.
      number: The only example to return; None for all.

    Returns:
      The features of each example by name, without the axis B; for windows with 'window', the
      number of the window and the number of windows.
    """
    windows = source.eval_windows
    examples = min(-(-count // max(1, windows)), source.num_examples)
    chosen = dataclasses.replace(source, num_examples=examples)
    if number is not None:
        chosen = _only(source, number)
    shown = []
    for batch in chosen.eval_batches(batch_size=1):  # windows of video are large
        example = {name: value[0] for name, value in batch.items()}
        if number is not None:
            example["index"] = number
        shown += [_window(example, i, windows) for i in range(windows)] if windows else [example]
    return shown[:count]


def evaluation_example(source: Source, number: int) -> Example:
    """Returns one example as in evaluation, or the middle one of its windows.

    Raises:
      InputError: The example cannot be read.
    """
    windows = evaluation_examples(source, max(1, source.eval_windows), number)
    return windows[len(windows) // 2]


def _only(source: Source, number: int) -> Source:
    """Returns a source of one example, which every epoch augments differently."""
    return dataclasses.replace(
        source,
        num_examples=1,
        example=lambda index, seed: source.example(index + number, seed),
        name=lambda index: source.name(index + number),
    )


def _window(example: Example, number: int, windows: int) -> Example:
    inputs = {name: example[name][number] for name in INPUTS if name in example}
    return example | inputs | {"window": (number + 1, windows)}


def caption(example: Example, class_names: Sequence[str]) -> str:
    """Returns the caption of an example: its number, classes and window."""
    if "labels" in example:
        classes = ", ".join(class_names[i] for i in np.flatnonzero(example["labels"]).tolist())
    else:
        classes = class_names[example["label"]]
    if "other_label" in example:
        weight = float(example["label_weight"])
        classes = f"{weight:.0%} {classes}, {1 - weight:.0%} {class_names[example['other_label']]}"
    window = ", window {} of {}".format(*example["window"]) if "window" in example else ""
    return f"#{example['index']}{window}: {classes or 'no class'}"
