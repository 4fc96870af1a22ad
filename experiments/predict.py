"""What a trained network sees in files of a user's: the likeliest classes, with their scores.

python -m experiments.predict --workdir=runs/mine picture.jpg folder/
python -m experiments.predict --workdir=runs/sounds --format=jsonl folder/ > found.jsonl
"""

import argparse
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.cli.argument_parser import Parser
from experiments.cli.errors import EXIT_FAILED, EXIT_USER_ERROR, answered, shown
from experiments.run import input_files, restore
from perceiver import library
from perceiver.data import single_files
from perceiver.data.single_files import Reading
from perceiver.errors import InputError
from perceiver.training.host_memory import keep_freed_memory

RUN_HERE = "python -m experiments.predict"
_BATCH_SIZE = 16
_WIDEST = 60  # characters of the column of files; longer names have a line to themselves


class Prediction(NamedTuple):
    """What the network says of a file.

    Attributes:
      file: its path.
      scores: float64 [classes], probabilities: the mean over the windows of a clip.
      windows: how many these were.
    """

    file: str
    scores: np.ndarray
    windows: int


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=RUN_HERE,
        description="Tells what a trained network sees in pictures, sounds, videos or point "
        "clouds, whichever it was trained on: the likeliest classes of each file with their "
        "scores. Files are cropped, resized and cut into windows as in evaluation.",
        epilog=f"example: {RUN_HERE} --workdir=runs/mine --top=3 picture.jpg folder/",
        allow_abbrev=False,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="FILE_OR_FOLDER",
        help="a file, or a folder whose files are taken, at any depth; after -- a name may begin "
        "with a dash",
    )
    parser.add_argument(
        "--workdir",
        metavar="RUN",
        help="a run's folder, or a FILE.safetensors that was exported from one",
    )
    parser.add_argument(
        "--checkpoint", default="newest", help="newest (the default), best, or a step"
    )
    parser.add_argument(
        "--format",
        default="table",
        choices=("table", "jsonl"),
        help="a table to read, or an object of JSON a line for each file, as soon as it is done",
    )
    parser.add_argument("--top", type=int, default=5, help="classes to tell of each file; 5")
    parser.add_argument(
        "--batch_size",
        type=int,
        default=_BATCH_SIZE,
        help=f"files, or windows of clips, that the network takes at once; {_BATCH_SIZE}",
    )
    return parser


def predict(options: argparse.Namespace) -> int:
    """Loads the network, reads the files and prints what it says of each, one after another.

    Returns:
      The exit status: EXIT_FAILED where something was left out, EXIT_USER_ERROR where all was.

    Raises:
      InputError: wrong arguments, no such run, or nothing to read.
      CheckpointError: its checkpoint is missing or damaged.
    """
    _check(options)
    classifier = restore.load(options.workdir, options.checkpoint)
    reader = single_files.reader(classifier.inputs, classifier.data)
    found = input_files.find(options.words, reader.kind)
    for problem in found.problems:
        _say(f"left out: {problem}")
    if found.others:
        takes = ", ".join(reader.kind.suffixes)
        _say(f"files of other kinds that are left out: {found.others:,}; these are read: {takes}")
    if not found.files:
        raise InputError(f"no file to read in {', '.join(options.words)}")

    show = _FORMS[options.format](classifier, found.files, options.top)
    failed, longer = list(found.problems), []

    def readable() -> Iterator[tuple[str, Reading]]:
        for path, reading in single_files.read_each(reader, found.files):
            if isinstance(reading, InputError):
                _say(f"left out: {reading}")
                failed.append(path)
                continue
            if reading.longer:
                longer.append(path)
            yield path, reading

    count = 0
    size = _even(len(found.files) * reader.windows, options.batch_size)
    with contextlib.closing(readable()) as readings:
        for prediction in predictions(classifier.probabilities, readings, size):
            print(show(prediction), flush=True)
            count += 1
    if longer:
        _say(
            f"files of which the beginning alone was taken: {len(longer):,}, {longer[0]} the first"
        )
    if failed:
        _say(f"files done: {count:,}; left out: {len(failed):,}")
    if not count:
        return EXIT_USER_ERROR
    return EXIT_FAILED if failed else 0


def predictions(
    probabilities: Callable[[dict[str, np.ndarray]], jax.Array],
    readings: Iterator[tuple[str, Reading]],
    batch_size: int,
) -> Iterator[Prediction]:
    """What a network says of files, a batch at a time.

    The scores of a clip's windows are averaged as evaluation averages them, as probabilities.

    Args:
      probabilities: inputs by modality [B, ...] -> float32 [B, classes].
      readings: (path, reading) of each file.
      batch_size: B, of windows; the last batch is filled up, so that no other B is compiled.

    Yields:
      A prediction for each file, in their order.
    """
    whole: list[tuple[str, int]] = []  # files whose windows are not all done, with their numbers
    scores: list[np.ndarray] = []  # of the windows of these that are

    def windows() -> Iterator[dict[str, np.ndarray]]:
        for path, reading in readings:
            of_each = [
                dict(zip(reading.inputs, values, strict=True))
                for values in zip(*reading.inputs.values(), strict=True)
            ]
            whole.append((path, len(of_each)))
            yield from of_each

    every = windows()
    while batch := list(itertools.islice(every, batch_size)):
        filled = batch + [batch[-1]] * (batch_size - len(batch))
        stacked = {name: np.stack([window[name] for window in filled]) for name in batch[0]}
        scores += list(np.asarray(probabilities(stacked), np.float64)[: len(batch)])
        while whole and len(scores) >= whole[0][1]:
            path, count = whole.pop(0)
            yield Prediction(path, np.mean(scores[:count], axis=0), count)
            del scores[:count]


def _check(options: argparse.Namespace) -> str | int:
    """Refuses what can't be."""
    if not options.workdir:
        raise InputError(f"--workdir is missing, as in: {RUN_HERE} --workdir=runs/mine picture.jpg")
    if not options.words:
        raise InputError(
            f"no file or folder is given, as in: {RUN_HERE} --workdir={shown(options.workdir)} "
            "picture.jpg folder/"
        )
    if "-" in options.words:
        raise InputError("'-' is no file: standard input isn't read; give files or folders")
    for name in ("top", "batch_size"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name}={getattr(options, name)} is too small; give 1 or more")


def _even(examples: int, most: int) -> int:
    """The batch size, at most `most`, that leaves the least to fill up in the last batch."""
    return -(-examples // -(-examples // most))


def _best(scores: np.ndarray, top: int) -> np.ndarray:
    """The classes with the highest scores, the highest first; of equal ones the first."""
    return np.argsort(-scores, kind="stable")[:top]


def _class_names(classifier: library.Classifier, classes: Sequence[int]) -> list[str]:
    """Their names; numbers where the run does not know any."""
    known = classifier.class_names
    return [known[c] if known else f"class {c}" for c in classes]


Show = Callable[[Prediction], str]


def _table(classifier: library.Classifier, files: Sequence[str], top: int) -> Show:
    """Rows of a table, whose head it prints; a row for each class."""
    width = min(max(len(shown(file)) for file in files), _WIDEST)
    if classifier.multi_label:
        print("Scores are probabilities of one class each: several may be there at once.")
    print(f"{'file':{width}}    score  class")

    def show(prediction: Prediction) -> str:
        best = _best(prediction.scores, top)
        names = _class_names(classifier, best)
        rows = [
            f"{prediction.scores[c]:7.2%}  {shown(n)}" for c, n in zip(best, names, strict=True)
        ]
        head = shown(prediction.file)
        if len(head) > width:
            return "\n".join([head, *(f"{'':{width}}  {row}" for row in rows)])
        heads = [head, *[""] * (len(rows) - 1)]
        return "\n".join(f"{head:{width}}  {row}" for head, row in zip(heads, rows, strict=True))

    return show


def _jsonl(classifier: library.Classifier, files: Sequence[str], top: int) -> Show:
    """Objects with file, classes and scores, and windows where there are several."""
    del files

    def show(prediction: Prediction) -> str:
        best = _best(prediction.scores, top)
        found = {
            "file": prediction.file,
            "classes": _class_names(classifier, best),
            "scores": [round(float(prediction.scores[c]), 6) for c in best],
        }
        if prediction.windows > 1:
            found["windows"] = prediction.windows
        return json.dumps(found)

    return show


_FORMS = {"table": _table, "jsonl": _jsonl}


def main(arguments: Sequence[str]) -> int:
    """Runs; returns the exit status, or ends the program with a line that says why not."""
    with answered():
        return predict(_parser().parse_intermixed_args(arguments))


def _say(line: str) -> None:
    print(shown(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal lacks letters for
    # TensorFlow logs each damaged file, without its name. The 1 is JAX's, not the user's.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
