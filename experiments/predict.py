"""Predicts the classes of a user's files with a trained network.

python -m experiments.predict --workdir=runs/mine picture.jpg folder/
python -m experiments.predict --workdir=runs/sounds --format=jsonl folder/ > found.jsonl
"""

import argparse
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.cli.errors import EXIT_FAILED, EXIT_USER_ERROR, printable
from experiments.cli.main import prepare_stdout, run
from experiments.cli.parser import Parser, whole_number
from experiments.run import input_files, restore
from perceiver import library
from perceiver.data import single_files
from perceiver.data.single_files import Reading
from perceiver.errors import InputError

_WIDEST = 60  # characters of the column of files; a longer name gets its own line


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    parser = Parser(
        "experiments.predict",
        """Predicts the classes of pictures, sounds, videos or point clouds with a trained network.

It prints the most likely classes of each file with their scores. Files are cropped, resized and
cut into windows as in evaluation.""",
        examples=["--workdir=runs/mine --top=3 picture.jpg folder/"],
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE_OR_FOLDER",
        help="a file, or a folder for all files in it at any depth; names may begin with a dash "
        "after --",
    )
    parser.add_workdir("folder of a run, or a FILE.safetensors that was exported from one")
    parser.add_argument("--checkpoint", default="newest", help="newest, best or a step")
    parser.add_argument(
        "--format",
        default="table",
        choices=("table", "jsonl"),
        help="a table to read, or one JSON object on a line for each file, printed immediately",
    )
    parser.add_argument(
        "--top", type=whole_number(1), default=5, help="number of classes to print for each file"
    )
    parser.add_argument(
        "--batch_size",
        type=whole_number(1),
        default=16,
        help="number of files, or windows of clips, in a batch",
    )
    return parser


def main(options: argparse.Namespace) -> int:
    """Loads the network, and prints the prediction for each file as soon as it is computed.

    Returns:
      The exit status: EXIT_FAILED if files were left out, EXIT_USER_ERROR if all were.

    Raises:
      InputError: wrong arguments, no such run, or nothing to read.
      CheckpointError: the checkpoint is missing or damaged.
    """
    _check_files(options)
    classifier = restore.load(options.workdir, options.checkpoint)
    reader = single_files.reader(classifier.inputs, classifier.data)
    found = input_files.find(options.files, reader.kind)
    for problem in found.problems:
        _log(f"left out: {problem}")
    if found.others:
        suffixes = ", ".join(reader.kind.suffixes)
        _log(
            f"files of other kinds that are left out: {found.others:,}; these are read: {suffixes}"
        )
    if not found.files:
        raise InputError(f"no file to read in {', '.join(options.files)}")

    in_format = _FORMATS[options.format](classifier, found.files, options.top)
    failed, truncated = list(found.problems), []

    def readable() -> Generator[tuple[str, Reading], None, None]:
        for path, reading in single_files.read_each(reader, found.files):
            if isinstance(reading, InputError):
                _log(f"left out: {reading}")
                failed.append(path)
                continue
            if reading.longer:
                truncated.append(path)
            yield path, reading

    count = 0
    size = _even_batch_size(len(found.files) * reader.windows, options.batch_size)
    with contextlib.closing(readable()) as readings:
        for prediction in predictions(classifier.probabilities, readings, size):
            print(in_format(prediction), flush=True)
            count += 1
    if truncated:
        _log(f"files read in part, from the beginning: {len(truncated):,}, first {truncated[0]}")
    if failed:
        _log(f"files done: {count:,}; left out: {len(failed):,}")
    if not count:
        return EXIT_USER_ERROR
    return EXIT_FAILED if failed else 0


class Prediction(NamedTuple):
    """The prediction for one file.

    Attributes:
      file: path of the file.
      scores: float64 [classes], probabilities; the mean over the windows of a clip.
      windows: number of windows.
    """

    file: str
    scores: np.ndarray
    windows: int


def predictions(
    probabilities: Callable[[dict[str, np.ndarray]], jax.Array],
    readings: Iterator[tuple[str, Reading]],
    batch_size: int,
) -> Iterator[Prediction]:
    """Predicts the classes of files, in batches of windows.

    The score of a clip is the mean of its windows' probabilities, as in evaluation.

    Args:
      probabilities: function of inputs by modality [B, ...] -> float32 [B, classes].
      readings: (path, reading) of each file.
      batch_size: number B of windows in a batch. The last batch is padded, so that only one B is
        compiled.

    Yields:
      A prediction for each file, in the same order.
    """
    pending: list[tuple[str, int]] = []  # files with windows to come, and their numbers of windows
    scores: list[np.ndarray] = []  # of the windows of pending files

    def windows() -> Iterator[dict[str, np.ndarray]]:
        for path, reading in readings:
            of_file = [
                dict(zip(reading.inputs, values, strict=True))
                for values in zip(*reading.inputs.values(), strict=True)
            ]
            pending.append((path, len(of_file)))
            yield from of_file

    all_windows = windows()
    while batch := list(itertools.islice(all_windows, batch_size)):
        padded = batch + [batch[-1]] * (batch_size - len(batch))
        stacked = {name: np.stack([window[name] for window in padded]) for name in batch[0]}
        scores += list(np.asarray(probabilities(stacked), np.float64)[: len(batch)])
        while pending and len(scores) >= pending[0][1]:
            path, count = pending.pop(0)
            yield Prediction(path, np.mean(scores[:count], axis=0), count)
            del scores[:count]


def _check_files(options: argparse.Namespace) -> None:
    """Refuses a command without files, and standard input."""
    if not options.files:
        raise InputError(
            f"no file or folder is given, as in: {parser().prog} "
            f"--workdir={printable(options.workdir)} picture.jpg folder/"
        )
    if "-" in options.files:
        raise InputError("'-' is no file: standard input isn't read; give files or folders")


def _even_batch_size(examples: int, most: int) -> int:
    """Returns the batch size, at most `most`, that pads the last batch the least."""
    return -(-examples // -(-examples // most))


def _best(scores: np.ndarray, top: int) -> np.ndarray:
    """Returns the classes with the highest scores, in descending order; ties in class order."""
    return np.argsort(-scores, kind="stable")[:top]


def _class_names(classifier: library.Classifier, classes: np.ndarray) -> list[str]:
    """Returns names of classes, with numbers for a run without class names."""
    known = classifier.class_names
    return [known[c] if known else f"class {c}" for c in classes]


InFormat = Callable[[Prediction], str]


def _table(classifier: library.Classifier, files: Sequence[str], top: int) -> InFormat:
    """Prints the head of a table; returns a function that makes the rows, one for each class."""
    width = min(max(len(printable(file)) for file in files), _WIDEST)
    if classifier.multi_label:
        print("Scores are probabilities of one class each: several may be there at once.")
    print(f"{'file':{width}}    score  class")

    def rows_of(prediction: Prediction) -> str:
        best = _best(prediction.scores, top)
        names = _class_names(classifier, best)
        rows = [
            f"{prediction.scores[c]:7.2%}  {printable(n)}" for c, n in zip(best, names, strict=True)
        ]
        head = printable(prediction.file)
        if len(head) > width:
            return "\n".join([head, *(f"{'':{width}}  {row}" for row in rows)])
        heads = [head, *[""] * (len(rows) - 1)]
        return "\n".join(f"{head:{width}}  {row}" for head, row in zip(heads, rows, strict=True))

    return rows_of


def _jsonl(classifier: library.Classifier, files: Sequence[str], top: int) -> InFormat:
    """Returns a function that makes a JSON object of file, classes, scores and windows."""
    del files

    def object_of(prediction: Prediction) -> str:
        best = _best(prediction.scores, top)
        found: dict[str, object] = {
            "file": prediction.file,
            "classes": _class_names(classifier, best),
            "scores": [round(float(prediction.scores[c]), 6) for c in best],
        }
        if prediction.windows > 1:
            found["windows"] = prediction.windows
        return json.dumps(found)

    return object_of


_FORMATS = {"table": _table, "jsonl": _jsonl}


def _log(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    prepare_stdout()
    # TensorFlow logs each damaged file, without its name. The value 1 is set by JAX.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    run(main, parser())
