"""Draws what a network would be given, after augmentation, as a contact sheet.

For any config: pictures, point clouds, videos, spectrograms and waveforms, each with its number in
the data set and its class.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import build, checks
from experiments.answers import UserError
from experiments.command_line import run
from experiments.contact_sheets import INPUTS, Entry, contact_sheet, png, scales_of
from perceiver.training.files import replace_file

if TYPE_CHECKING:
    from perceiver.data.source import Source

Example = dict[str, Any]

USAGE = """Draws the inputs of a config's network, as training or evaluation has them, into a PNG.

Training shows the beginning of the run with config.train.seed; --example=NUMBER shows one example
as often as --count says, augmented anew each time; --split=eval shows what is evaluated. Above each
stand its number and its class; the file behind each number is printed.

  python -m experiments.show_data --config=configs/digits.py --out=digits.png --count=24
"""

_MOST = 200  # what a picture can hold and still be looked at


def main(config: ConfigDict, _: str | None) -> None:
    """Loads, draws, writes."""
    checks.check_numbers(config)
    values = flags.FLAGS
    with writing(values.out):
        out = Path(values.out).expanduser()
    if out.suffix.lower() != ".png":
        raise UserError(f"--out={values.out} is not the name of a PNG; give one that ends in .png")
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)

    from perceiver.data import registry  # TensorFlow only now: mistakes above are quick

    dataset = registry.load(**build.data_options(config))
    source = dataset.train if values.split == "train" else dataset.eval
    if values.example is not None and values.example >= source.num_examples:
        raise UserError(
            f"--example={values.example} is not in the {values.split} split; its "
            f"{source.num_examples:,} examples are numbered from 0"
        )
    if values.split == "train":
        shown = of_training(source, config, values.count, values.example)
    else:
        shown = of_evaluation(source, values.count, values.example)
    scales = scales_of(config.data)
    entries = [Entry(caption(example, dataset.class_names), example) for example in shown]
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    header = f"{file}, {values.split}, {source.num_examples:,} examples"
    picture = png(contact_sheet(header, entries, scales))
    with writing(out):
        replace_file(out, picture)

    names = [f"#{example['index']}: {source.name(int(example['index']))}" for example in shown]
    print("\n".join(dict.fromkeys(names)))  # those shown several times once
    print(f"picture: {out}")


def of_training(
    source: "Source", config: ConfigDict, count: int, number: int | None
) -> list[Example]:
    """The first examples that a run would train on.

    Args:
      source: the training split.
      config: of the run, which has its seed.
      count: how many.
      number: the one example to show in as many augmentations; None for all examples.

    Returns:
      For each its features by name, without the axis B.
    """
    # Where examples are mixed, they come in pairs.
    batch_size = count + count % 2 if source.of_pair else count
    chosen = source if number is None else _only(source, number)
    batch = next(build.train_iterator(config, chosen, batch_size=batch_size))
    if number is not None:
        batch["index"][:] = number
    return [{name: value[i] for name, value in batch.items()} for i in range(count)]


def of_evaluation(source: "Source", count: int, number: int | None) -> list[Example]:
    """The first examples that are evaluated, each window of them for itself.

    Args:
      source: the evaluation split.
      count: how many windows, or examples where there are no windows; fewer if there are fewer.
      number: the one example to show; None for all.

    Returns:
      As `of_training`, where there are windows with 'window', which of how many it is.
    """
    from perceiver.data.pipeline import eval_batches

    windows = source.eval_windows
    examples = min(-(-count // max(1, windows)), source.num_examples)
    chosen = dataclasses.replace(source, num_examples=examples)
    if number is not None:
        chosen = _only(source, number)
    shown = []
    for batch in eval_batches(chosen, batch_size=1):  # windows of video are large
        example = {name: value[0] for name, value in batch.items()}
        if number is not None:
            example["index"] = number
        shown += [_window(example, i, windows) for i in range(windows)] if windows else [example]
    return shown[:count]


def one_of_evaluation(source: "Source", number: int) -> Example:
    """One example as evaluation has it; of several windows the one in the middle.

    Raises:
      DataError: it can't be read.
    """
    windows = of_evaluation(source, max(1, source.eval_windows), number)
    return windows[len(windows) // 2]


def _only(source: "Source", number: int) -> "Source":
    """A source of one example, which every epoch augments anew."""
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
    """What is written above an example: its number, its classes, its window."""
    if "labels" in example:
        classes = ", ".join(class_names[i] for i in np.flatnonzero(example["labels"]))
    else:
        classes = class_names[example["label"]]
    if "other_label" in example:
        weight = float(example["label_weight"])
        classes = f"{weight:.0%} {classes}, {1 - weight:.0%} {class_names[example['other_label']]}"
    window = ", window {} of {}".format(*example["window"]) if "window" in example else ""
    return f"#{example['index']}{window}: {classes or 'no class'}"


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """A context in which a fault of the disk is the answer to --out."""
    try:
        yield
    except OSError as error:
        raise UserError(f"--out={path} can't be written: {error.strerror}") from error
    except RuntimeError as error:  # of a ~ before the name of nobody here
        raise UserError(f"--out={path} can't be written: {error}") from error


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "the PNG to write")
    flags.DEFINE_enum("split", "train", ["train", "eval"], "which split, as the run has it")
    flags.DEFINE_integer("count", 24, "how many inputs", lower_bound=1, upper_bound=_MOST)
    flags.DEFINE_integer("example", None, "the number of the only one to show", lower_bound=0)
    run(main, USAGE, required=("config", "out"))
