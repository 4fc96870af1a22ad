"""AudioSet's lists: which segments of which videos have which labels, and where their files are.

The official lists are text: `class_labels_indices.csv` names the 527 classes (Sec. 4.2), and
`balanced_train_segments.csv`, `unbalanced_train_segments.csv` and `eval_segments.csv` give a
segment a line. Ids may begin with '-' and contain '_'; they are data, and never reach a shell.
"""

import csv
import dataclasses
import io
import os
from collections.abc import Iterator, Sequence
from typing import NoReturn

from perceiver.data.errors import reason
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

_OF_VIDEO = (".mp4", ".webm", ".mkv", ".mpg", ".mpeg", ".mov", ".avi", ".flv", ".3gp")
_OF_SOUND = (".m4a", ".wav", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aac")
SUFFIXES = _OF_VIDEO + _OF_SOUND

_LIST_NAME = "_segments.csv"
_CLASSES = "class_labels_indices.csv"  # as AudioSet calls it
_SHOWN = 200  # characters of a wrong line
_WHERE = "research.google.com/audioset/download.html has the official ones"

Files = dict[str, list[str]]  # name without its suffix -> paths below the folder, sorted


@dataclasses.dataclass(frozen=True)
class Segment:
    """A line of a list.

    Attributes:
      video: the id of the video.
      start: in the video, in seconds.
      end: likewise.
      labels: indices of the classes, in the order of the line.
    """

    video: str
    start: float
    end: float
    labels: tuple[int, ...]

    @property
    def id(self) -> str:
        """What the clip is called, such as `3qesirWAGt4_000020`."""
        return f"{self.video}_{_number(self.start):0>6}"


def classes_beside(path: str) -> str:
    """The list of classes in the folder of a list of segments, `class_labels_indices.csv`.

    Raises:
      InputError: there is none, or no such list of segments.
    """
    beside = os.path.join(os.path.dirname(path), _CLASSES)
    if not tf.io.gfile.exists(path):
        raise _absent(path)
    if not tf.io.gfile.exists(beside):
        raise InputError(
            f"{path}: there is no {_CLASSES} beside it: put it there, or give the list of classes "
            f"with --classes ({_WHERE})"
        )
    return beside


def read_classes(path: str) -> tuple[dict[str, int], list[str]]:
    """Reads `class_labels_indices.csv`.

    Args:
      path: the file; its columns are index, mid and display_name.

    Returns:
      (the index of each mid, the display names in the order of the indices).

    Raises:
      InputError: no such file, not such a file, indices that do not count from 0, or a class
        without a mid and a name of its own.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(_text(path))))
    except csv.Error as error:  # a quote that is never closed
        raise InputError(f"{path}: not a list of classes: {error}") from error
    if not rows or not {"index", "mid", "display_name"} <= rows[0].keys():
        raise InputError(
            f"{path}: not the list of classes: its first line must be index,mid,display_name "
            f"({_WHERE})"
        )
    for number, row in enumerate(rows):
        if row["index"] != str(number):
            raise InputError(f"{path}:{number + 2}: index {row['index']!r} should be {number}")
    for column in ("mid", "display_name"):
        seen = set()
        for number, row in enumerate(rows):
            value = row[column]
            if not value or len(value.splitlines()) > 1 or value in seen:
                raise InputError(
                    f"{path}:{number + 2}: {column} {_short(value)}: each class must have one, in "
                    "a line, and no other class the same"
                )
            seen.add(value)
    return {row["mid"]: int(row["index"]) for row in rows}, [row["display_name"] for row in rows]


def read_segments(path: str, classes: dict[str, int]) -> list[Segment]:
    """Reads a list of segments.

    Args:
      path: a CSV file of video, start, end and the quoted mids; lines with '#' are comments.
      classes: index of each mid.

    Returns:
      The segments in the order of the list.

    Raises:
      InputError: no such file, no segments, a line that is not one, an unknown mid, or a segment
        listed twice; the line is named.
    """
    segments = []
    seen: dict[str, int] = {}
    reader = csv.reader(io.StringIO(_text(path)), skipinitialspace=True)
    for row in _rows(reader, path):
        if not row or row[0].startswith("#"):
            continue
        line = f"{path}:{reader.line_num}"
        try:
            video, start, end, mids = row
            start, end = float(start), float(end)
        except ValueError:
            raise InputError(
                f"{line}: {_short(','.join(row))} is not a segment: YTID, start, end, "
                f'"mid,mid,..." ({_WHERE})'
            ) from None
        if not video or not 0 <= start < end < float("inf"):
            raise InputError(
                f"{line}: no segment goes from {start} s to {end} s of {_short(video)}"
            )
        unknown = [mid for mid in mids.split(",") if mid not in classes]
        if unknown:
            raise InputError(
                f"{line}: class {_short(unknown[0])} of {_short(video)} is not in the list of "
                f"classes: give the {_CLASSES} that belongs to this list"
            )
        segment = Segment(video, start, end, tuple(classes[mid] for mid in mids.split(",")))
        if segment.id in seen:
            raise InputError(f"{line}: {segment.id!r} is there already, on line {seen[segment.id]}")
        seen[segment.id] = reader.line_num
        segments.append(segment)
    if not segments:
        raise InputError(f"{path}: has no segments ({_WHERE})")
    return segments


def split_name(path: str) -> str:
    """The name that a list gives its split: `balanced_train` for `balanced_train_segments.csv`.

    Raises:
      InputError: the list has another kind of name.
    """
    name = os.path.basename(path)
    if not name.endswith(_LIST_NAME) or not name.removesuffix(_LIST_NAME).isidentifier():
        raise InputError(
            f"{path}: what to call its split? Give --split=NAME, or name the list NAME{_LIST_NAME}"
        )
    return name.removesuffix(_LIST_NAME)


def scan(dir: str) -> Files:
    """Finds the sound and video files below a folder, in one walk.

    Args:
      dir: the folder, local or with an address that TensorFlow opens (`gs://...`). Links to
        folders are followed: two million clips may lie on several disks.

    Raises:
      InputError: no such folder, or one below it cannot be read.
    """
    if not dir or not tf.io.gfile.isdir(dir):
        raise InputError(f"folder of clips {dir!r} does not exist: give the one that holds them")
    found: Files = {}
    for folder, names in _walk(dir):
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES and not name.startswith("."):
                below = os.path.relpath(os.path.join(folder, name), dir)
                found.setdefault(stem, []).append(below)
    return {stem: sorted(paths) for stem, paths in found.items()}


def _walk(dir: str) -> Iterator[tuple[str, list[str]]]:
    """The folders from `dir` on, each once, with the names of what is in them."""

    def refuse(error: Exception) -> NoReturn:
        raise InputError(
            f"folder of clips {dir!r} cannot be read whole: {reason(error)}"
        ) from error

    if "://" in dir:
        for folder, _, names in tf.io.gfile.walk(dir, onerror=refuse):
            yield folder, names
        return
    seen = set()
    for folder, below, names in os.walk(dir, onerror=refuse, followlinks=True):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:  # a link that leads back
            below.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        below.sort()  # by which of two ways a folder is reached does not depend on the disk
        yield folder, names


def find(segment: Segment, files: Files, *, video: bool = False) -> tuple[str, bool] | None:
    """The file of a segment.

    Files are known by their names: `<id>`, or the id with where the segment begins, as six digits
    (`_000020`), in seconds (`_20`, `_20.000`) or in milliseconds (`_20000`), with or without where
    it ends in the same way; a 'Y' may precede the id. A file with a start comes before one
    without; of several that are alike, the first in alphabetical order is taken.

    Args:
      segment: the segment.
      files: the result of `scan`.
      video: whether, of several that are alike, one with the suffix of a video comes first.

    Returns:
      (path below the folder, whether the name has the start: the file is the segment, not the
      whole video), or None if there is no such file.
    """
    whole = (segment.video, f"Y{segment.video}")
    for stems, cut in ((_stems_with_start(segment), True), (whole, False)):
        paths = [path for stem in stems for path in files.get(stem, ())]
        if paths:
            return min(
                paths, key=lambda path: (video and path.lower().endswith(_OF_SOUND), path)
            ), cut
    return None


def _stems_with_start(segment: Segment) -> Iterator[str]:
    for start, end in zip(_written(segment.start), _written(segment.end), strict=True):
        for prefix in ("", "Y"):
            yield f"{prefix}{segment.video}_{start}"
            yield f"{prefix}{segment.video}_{start}_{end}"


def _written(seconds: float) -> Sequence[str]:
    """The ways in which mirrors of AudioSet write a time into a file's name."""
    return (
        f"{_number(seconds):0>6}",
        _number(seconds),
        f"{seconds:.1f}",
        f"{seconds:.3f}",
        str(round(seconds * 1000)),
    )


def _number(seconds: float) -> str:
    """Seconds without a needless fraction: '20', '20.5'."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _rows(reader: Iterator[list[str]], path: str) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:  # a quote that is never closed
        raise InputError(f"{path}:{reader.line_num}: {error} ({_WHERE})") from error


def _short(text: str | None) -> str:
    """What is wrong, for a message: with an unclosed quote it can be the rest of the list."""
    return repr(text) if text is None or len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."


def _absent(path: str) -> InputError:
    return InputError(f"list {path!r} does not exist: {_WHERE}")


def _text(path: str) -> str:
    if not tf.io.gfile.exists(path):
        raise _absent(path)
    try:
        with tf.io.gfile.GFile(path, "r") as file:
            return file.read()
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from error
