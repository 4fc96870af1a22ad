"""Finds the files that a user names, and reads them as in evaluation."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from perceiver.data import single_files
from perceiver.data.class_folders import FileKind
from perceiver.errors import InputError
from perceiver.library import Classifier


class FoundFiles(NamedTuple):
    """The result of a search for files.

    Attributes:
      files: Paths; those of a folder are sorted, its own files before those of its subfolders.
      others: Number of files of other kinds in the folders.
      problems: Message for each folder that cannot be listed.
    """

    files: list[str]
    others: int
    problems: list[str]


def read(classifier: Classifier, path: Path) -> dict[str, np.ndarray]:
    """Reads one file as in evaluation.

    Args:
      classifier: The network.
      path: Path of the file. Pictures, sound and videos are recognised by their content, point
        clouds by the ending of the name.

    Returns:
      Inputs by modality, [W, ...] for W windows of a clip, whose probabilities evaluation averages;
      W is 1 for other files.

    Raises:
      InputError: The file cannot be read, or its content is not an input of the network.
    """
    reader = single_files.reader(classifier.inputs, classifier.data)
    ((_, reading),) = single_files.read_each(reader, [os.fspath(path)])
    if isinstance(reading, InputError):
        raise reading
    return reading.inputs


def find(words: Iterable[str], kind: FileKind) -> FoundFiles:
    """Finds the files that a user names.

    Args:
      words: Files with any name, and folders, which are searched at any depth for files whose name
        has an ending of this kind. Hidden files are left out. Each folder is visited once, even if
        several links lead to it.
      kind: The kind of file to look for in folders.
    """
    files, others, problems = [], 0, []
    for word in words:
        if os.path.isdir(word):
            inside = _in_folder(word, kind)
            files += inside.files
            others += inside.others
            problems += inside.problems
        else:
            files.append(word)
    return FoundFiles(files, others, problems)


def _in_folder(folder: str, kind: FileKind) -> FoundFiles:
    files, others, problems = [], 0, []
    visited: set[tuple[int, int]] = set()
    _is_new(folder, visited)

    def unlistable(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be listed ({error.strerror})")

    for here, folders, names in os.walk(folder, onerror=unlistable, followlinks=True):
        folders[:] = [
            name for name in _visible(folders) if _is_new(os.path.join(here, name), visited)
        ]
        for name in _visible(names):
            if name.lower().endswith(kind.suffixes):
                files.append(os.path.join(here, name))
            else:
                others += 1
    return FoundFiles(files, others, problems)


def _visible(names: Iterable[str]) -> Iterator[str]:
    return (name for name in sorted(names) if not name.startswith("."))


def _is_new(folder: str, visited: set[tuple[int, int]]) -> bool:
    """Returns whether a folder is visited for the first time, under any name."""
    info = os.stat(folder)
    if not stat.S_ISDIR(info.st_mode) or (info.st_dev, info.st_ino) in visited:
        return False
    visited.add((info.st_dev, info.st_ino))
    return True
