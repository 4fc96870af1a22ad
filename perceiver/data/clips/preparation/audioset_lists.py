"""Reads the segment lists of AudioSet and finds the files of the segments.

The official lists are text: `class_labels_indices.csv` names the 527 classes (Sec. 4.2), and
`balanced_train_segments.csv`, `unbalanced_train_segments.csv` and `eval_segments.csv` have one
segment per line. Ids may begin with '-' and contain '_'; they are never passed to a shell.
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

_VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mpg", ".mpeg", ".mov", ".avi", ".flv", ".3gp")
_SOUND_SUFFIXES = (".m4a", ".wav", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aac")
SUFFIXES = _VIDEO_SUFFIXES + _SOUND_SUFFIXES

_LIST_SUFFIX = "_segments.csv"
_CLASSES = "class_labels_indices.csv"  # the official name
_MAX_SHOWN = 200  # characters of a wrong value in a message
_SOURCE = "research.google.com/audioset/download.html has the official ones"

Files = dict[str, list[str]]  # file name without suffix -> sorted paths below the folder


@dataclasses.dataclass(frozen=True)
class Segment:
    """A segment of a video, which is one line of a list.

    Attributes:
      video: id of the video.
      start: start of the segment in the video, in seconds.
      end: end of the segment in the video, in seconds.
      labels: indices of the classes, in the order of the line.
    """

    video: str
    start: float
    end: float
    labels: tuple[int, ...]

    @property
    def id(self) -> str:
        """The id of the clip, for example `3qesirWAGt4_000020`."""
        return f"{self.video}_{_number(self.start):0>6}"


def find_classes(segments_path: str) -> str:
    """Returns the path of `class_labels_indices.csv` in the folder of a list of segments.

    Raises:
      InputError: the list of segments or the list of classes does not exist.
    """
    path = os.path.join(os.path.dirname(segments_path), _CLASSES)
    if not tf.io.gfile.exists(segments_path):
        raise _missing_list(segments_path)
    if not tf.io.gfile.exists(path):
        raise InputError(
            f"{segments_path}: its folder has no {_CLASSES}: put it there, or give the list of "
            f"classes with --classes ({_SOURCE})"
        )
    return path


def read_classes(path: str) -> tuple[dict[str, int], list[str]]:
    """Reads `class_labels_indices.csv`.

    Args:
      path: path of the file; its columns are index, mid and display_name.

    Returns:
      (index of each mid, display names in the order of the indices).

    Raises:
      InputError: the file does not exist or is no list of classes, the indices do not count from 0,
        or the mid or name of a class is missing or not unique.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(_read_text(path))))
    except csv.Error as error:  # an unclosed quote
        raise InputError(f"{path}: not a list of classes: {error}") from error
    if not rows or not {"index", "mid", "display_name"} <= rows[0].keys():
        raise InputError(
            f"{path}: not the list of classes: its first line must be index,mid,display_name "
            f"({_SOURCE})"
        )
    for number, row in enumerate(rows):
        if row["index"] != str(number):
            raise InputError(f"{path}:{number + 2}: index {row['index']!r} should be {number}")
    for column in ("mid", "display_name"):
        earlier = set()
        for number, row in enumerate(rows):
            value = row[column]
            if not value or len(value.splitlines()) > 1 or value in earlier:
                raise InputError(
                    f"{path}:{number + 2}: {column} {_shorten(value)}: each class must have a "
                    "unique one, written in a line"
                )
            earlier.add(value)
    return {row["mid"]: int(row["index"]) for row in rows}, [row["display_name"] for row in rows]


def read_segments(path: str, classes: dict[str, int]) -> list[Segment]:
    """Reads a list of segments.

    Args:
      path: path of a CSV file of video, start, end and quoted mids; lines with '#' are comments.
      classes: index of each mid.

    Returns:
      The segments in the order of the list.

    Raises:
      InputError: the file does not exist, has no segments, or has an invalid line, an unknown mid
        or a segment twice; the message names the line.
    """
    segments = []
    lines: dict[str, int] = {}  # id of each segment -> its line
    for number, row in _numbered_rows(path):
        if not row or row[0].startswith("#"):
            continue
        line = f"{path}:{number}"
        try:
            video, start, end, mids = row
            start, end = float(start), float(end)
        except ValueError:
            raise InputError(
                f"{line}: {_shorten(','.join(row))} is not a segment: YTID, start, end, "
                f'"mid,mid,..." ({_SOURCE})'
            ) from None
        if not video or not 0 <= start < end < float("inf"):
            raise InputError(
                f"{line}: no segment goes from {start} s to {end} s of {_shorten(video)}"
            )
        unknown = [mid for mid in mids.split(",") if mid not in classes]
        if unknown:
            raise InputError(
                f"{line}: class {_shorten(unknown[0])} of {_shorten(video)} is not in the list of "
                f"classes: give the {_CLASSES} that belongs to this list"
            )
        segment = Segment(video, start, end, tuple(classes[mid] for mid in mids.split(",")))
        if segment.id in lines:
            raise InputError(
                f"{line}: {segment.id!r} is listed already, in line {lines[segment.id]}"
            )
        lines[segment.id] = number
        segments.append(segment)
    if not segments:
        raise InputError(f"{path}: has no segments ({_SOURCE})")
    return segments


def split_name(path: str) -> str:
    """Returns the split of a list: `balanced_train` for `balanced_train_segments.csv`.

    Raises:
      InputError: the name of the list does not have this form.
    """
    name = os.path.basename(path)
    if not name.endswith(_LIST_SUFFIX) or not name.removesuffix(_LIST_SUFFIX).isidentifier():
        raise InputError(
            f"{path}: its name gives no split: give --split=NAME, or name the list "
            f"NAME{_LIST_SUFFIX}"
        )
    return name.removesuffix(_LIST_SUFFIX)


def scan(dir: str) -> Files:
    """Finds the sound and video files below a folder, in one walk.

    Args:
      dir: the folder, local or with an address that TensorFlow opens (`gs://...`). Links to
        folders are followed, because two million clips may lie on several disks.

    Raises:
      InputError: the folder does not exist, or it or a folder below cannot be read.
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
    """Yields `dir` and each folder below it once, with the names of its files."""

    def refuse(error: Exception) -> NoReturn:
        raise InputError(
            f"folder of clips {dir!r} cannot be read completely: {reason(error)}"
        ) from error

    if "://" in dir:
        for folder, _, names in tf.io.gfile.walk(dir, onerror=refuse):
            yield folder, names
        return
    visited = set()
    for folder, subfolders, names in os.walk(dir, onerror=refuse, followlinks=True):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in visited:  # reached by another link
            subfolders.clear()
            continue
        visited.add((stat.st_dev, stat.st_ino))
        subfolders.sort()  # of two paths to a folder, always take the same one
        yield folder, names


def find(segment: Segment, files: Files, *, prefer_video: bool = False) -> tuple[str, bool] | None:
    """Finds the file of a segment by its name.

    The name is the id of the video, optionally followed by the start of the segment: as six digits
    (`_000020`), in seconds (`_20`, `_20.000`) or in milliseconds (`_20000`). The end may follow in
    the same format, and a 'Y' may precede the id. A name with a start is preferred to one without.
    Of several such files, the first in alphabetical order is returned.

    Args:
      segment: the segment.
      files: the result of `scan`.
      prefer_video: True to prefer a file with a video suffix to one with a sound suffix.

    Returns:
      (path below the folder, True if the name has the start and the file is therefore trimmed to
      the segment), or None if there is no such file.
    """

    def rank(path: str) -> tuple[bool, str]:
        return prefer_video and path.lower().endswith(_SOUND_SUFFIXES), path

    stems_without_start = (segment.video, f"Y{segment.video}")
    for stems, trimmed in ((_stems_with_start(segment), True), (stems_without_start, False)):
        paths = [path for stem in stems for path in files.get(stem, ())]
        if paths:
            return min(paths, key=rank), trimmed
    return None


def _stems_with_start(segment: Segment) -> Iterator[str]:
    for start, end in zip(_time_formats(segment.start), _time_formats(segment.end), strict=True):
        for prefix in ("", "Y"):
            yield f"{prefix}{segment.video}_{start}"
            yield f"{prefix}{segment.video}_{start}_{end}"


def _time_formats(seconds: float) -> Sequence[str]:
    """Returns the formats in which mirrors of AudioSet write a time into a file name."""
    return (
        f"{_number(seconds):0>6}",
        _number(seconds),
        f"{seconds:.1f}",
        f"{seconds:.3f}",
        str(round(seconds * 1000)),
    )


def _number(seconds: float) -> str:
    """Formats seconds without trailing zeros: '20', '20.5'."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _numbered_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows of a list of segments, each with the number of its last line."""
    reader = csv.reader(io.StringIO(_read_text(path)), skipinitialspace=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:  # an unclosed quote
        raise InputError(f"{path}:{reader.line_num}: {error} ({_SOURCE})") from error


def _shorten(text: str | None) -> str:
    """Shortens a wrong value for a message: an unclosed quote can contain the rest of the list."""
    return repr(text) if text is None or len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]!r}..."


def _missing_list(path: str) -> InputError:
    return InputError(f"list {path!r} does not exist: {_SOURCE}")


def _read_text(path: str) -> str:
    if not tf.io.gfile.exists(path):
        raise _missing_list(path)
    try:
        with tf.io.gfile.GFile(path, "r") as file:
            return file.read()
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from error
