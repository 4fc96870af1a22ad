"""Files of a user's for a network that was trained: found, and read as evaluation reads them."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from perceiver.data.class_folders import FileKind
    from perceiver.data.single_files import Reader
    from perceiver.library import Classifier


class Found(NamedTuple):
    """What there is to read.

    Attributes:
      files: paths; those of a folder sorted, its own before those of the folders in it.
      others: how many files of the folders are of other kinds.
      problems: what can't be had, a line each that names it.
    """

    files: list[str]
    others: int
    problems: list[str]


def reader(classifier: "Classifier") -> "Reader":
    """How files are read for a network.

    Raises:
      InputError: nothing that a file holds is what it takes in.
    """
    from perceiver.data import single_files

    return single_files.reader(classifier.inputs, classifier.data)


def read(classifier: "Classifier", path: Path) -> dict[str, np.ndarray]:
    """The content of one file as evaluation would show it to the network.

    Args:
      classifier: the network.
      path: the file. Pictures, sound and videos are told by their content, point clouds by the
        ending of the name.

    Returns:
      By modality, [W, ...]: W windows of a clip, whose probabilities evaluation averages; else 1.

    Raises:
      InputError: the file can't be read or does not hold what the network takes; it is named.
    """
    from perceiver.data import single_files

    ((_, reading),) = single_files.read_each(reader(classifier), [os.fspath(path)])
    if isinstance(reading, Exception):
        raise reading
    return reading.inputs


def find(words: Iterable[str], kind: "FileKind") -> Found:
    """The files that a user means.

    Args:
      words: files, which are taken whatever they are called, and folders, of which the files that
        are called as those of the kind are, at any depth. Hidden ones are left out, and no folder
        is gone through twice, whatever links lead to it.
      kind: what to look for in folders.
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
    return Found(files, others, problems)


def _in_folder(folder: str, kind: "FileKind") -> Found:
    files, others, problems = [], 0, []
    seen: set[tuple[int, int]] = set()
    _is_new(folder, seen)

    def unlistable(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be listed ({error.strerror})")

    for here, folders, names in os.walk(folder, onerror=unlistable, followlinks=True):
        folders[:] = [name for name in _shown(folders) if _is_new(os.path.join(here, name), seen)]
        for name in _shown(names):
            if name.lower().endswith(kind.suffixes):
                files.append(os.path.join(here, name))
            else:
                others += 1
    return Found(files, others, problems)


def _shown(names: Iterable[str]) -> Iterator[str]:
    return (name for name in sorted(names) if not name.startswith("."))


def _is_new(folder: str, seen: set[tuple[int, int]]) -> bool:
    """Whether this folder has not been met yet, under this or another name."""
    of = os.stat(folder)
    if not stat.S_ISDIR(of.st_mode) or (of.st_dev, of.st_ino) in seen:
        return False
    seen.add((of.st_dev, of.st_ino))
    return True
