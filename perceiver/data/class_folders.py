"""Finds the files of a data set with one folder per class, and splits it if it has no split.

This is the usual layout of an unpacked ImageNet. Names of files and folders may contain spaces,
quotes and a leading '-'.
"""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable

from perceiver.data.errors import existing_folder, unreadable_as_input_error
from perceiver.errors import InputError

_THREADS = 16  # folders listed at once: a network disk spends most of the time waiting

Files = dict[str, list[str]]  # class name -> paths of its files, sorted


def _no_check(path: str, beginning: bytes) -> None:
    """Accepts any content."""


@dataclasses.dataclass(frozen=True)
class FileKind:
    """A kind of file that a data set consists of.

    Attributes:
      plural: name of the files in messages, for example 'pictures'.
      suffixes: endings of the file names, in lower case, the most common one first.
      check: function of a path and the first bytes of the file; raises an InputError that names
        the file if the bytes do not fit this kind.
    """

    plural: str
    suffixes: tuple[str, ...]
    check: Callable[[str, bytes], None] = _no_check

    @property
    def layout(self) -> str:
        """Expected layout of the folders, for messages."""
        usual = self.suffixes[0]
        return (
            f"train/<class>/*{usual} and val/<class>/*{usual}, or <class>/*{usual} "
            f"({', '.join(self.suffixes[:-1])} or {self.suffixes[-1]})"
        )


@unreadable_as_input_error()
def find(dir: str, kind: FileKind, val_fraction: float, split_seed: int) -> tuple[Files, Files]:
    """Finds the training and validation files in `dir`.

    Folders `train` and `val` are the splits. Without them the folders in `dir` are the classes,
    and `split_off_validation` splits their files. Hidden files and folders are ignored, and so are
    files with other suffixes.

    Args:
      dir: path of the folder.
      kind: kind of the files.
      val_fraction: fraction of all files for validation, if `dir` has no split.
      split_seed: seed of that split.

    Returns:
      (train, val), each a dict from class name, sorted, to the paths of its files. After
      `split_off_validation` a class may have no files in one of them.

    Raises:
      InputError: `dir` is missing or unreadable, it has no classes, a class has no files, a class
        is in one split only, or a file is empty or refused by `kind.check`. The message names the
        file, folder or class.
    """
    root = existing_folder(dir, kind.layout)
    splits = [name for name in ("train", "val") if (root / name).is_dir()]
    if len(splits) == 1 and _subfolders(root / splits[0]):
        other = "val" if splits == ["train"] else "train"
        raise InputError(
            f"{str(root)!r} has {splits[0]!r} but no {other!r}: add it, or give "
            f"{str(root / splits[0])!r} to hold out a part of it"
        )
    if len(splits) < 2:
        files = _list_classes(root, kind)
        return split_off_validation(files, root, kind, val_fraction, split_seed)
    train, val = (_list_classes(root / name, kind) for name in splits)
    for name, classes, others in (("train", train, val), ("val", val, train)):
        alone = [repr(found) for found in classes if found not in others]
        if alone:
            raise InputError(
                f"{str(root)!r}: {len(alone)} classes are only in {name}: {', '.join(alone[:5])}"
                f"{', ...' if len(alone) > 5 else ''}: train and val must have the same classes"
            )
    return train, val


def split_off_validation(
    files: Files, root: pathlib.Path, kind: FileKind, val_fraction: float, split_seed: int
) -> tuple[Files, Files]:
    """Splits off round(val_fraction * number of files) files for validation, stratified by class.

    The counts per class are rounded by the largest remainder method. The choice depends on a hash
    of the seed and the path relative to `root`, so it is the same on every machine.

    Args:
      files: paths of the files of each class.
      root: folder of the data set.
      kind: kind of the files, for messages.
      val_fraction: fraction of all files, between 0 and 1.
      split_seed: seed of the choice.

    Returns:
      (train, val), each a dict from class name to the sorted paths of its files.

    Raises:
      InputError: the fraction is out of range, or one of the splits would be empty.
    """
    if not 0 < val_fraction < 1:
        raise InputError(
            f"val_fraction {val_fraction} is out of range: give a fraction between 0 and 1"
        )
    total = sum(len(paths) for paths in files.values())
    wanted = round(total * val_fraction)
    if not 0 < wanted < total:
        raise InputError(
            f"val_fraction {val_fraction} of the {total} {kind.plural} in {str(root)!r} is "
            f"{wanted}: at least one must be held out and one left; give another fraction, or more "
            f"{kind.plural}"
        )

    def draw(path: str | pathlib.Path) -> bytes:
        relative = os.fsencode(pathlib.Path(path).relative_to(root).as_posix())
        return hashlib.sha256(f"{split_seed}/".encode() + relative).digest()

    # Largest remainder method in exact integers: the quota of class c is len(c) * wanted / total.
    # Equal remainders are common (with one file per class), so the hash breaks ties, not the name.
    quotas = {name: divmod(len(paths) * wanted, total) for name, paths in files.items()}
    remaining = wanted - sum(whole for whole, _ in quotas.values())
    by_remainder = sorted(quotas, key=lambda name: (-quotas[name][1], draw(root / name)))
    counts = {name: whole for name, (whole, _) in quotas.items()}
    for name in by_remainder[:remaining]:
        counts[name] += 1

    train, val = {}, {}
    for name, paths in files.items():
        drawn = sorted(paths, key=draw)
        val[name] = sorted(drawn[: counts[name]])
        train[name] = sorted(drawn[counts[name] :])
    return train, val


def _list_classes(folder: pathlib.Path, kind: FileKind) -> Files:
    classes = _subfolders(folder)
    if not classes:
        raise InputError(
            f"no class folders in {str(folder)!r}{_describe_content(folder, kind)}: the expected "
            f"layout is {kind.layout}"
        )
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        listed = pool.map(lambda name: list_files(folder / name, kind), classes)
        return dict(zip(classes, listed, strict=True))


def _subfolders(folder: pathlib.Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def _describe_content(folder: pathlib.Path, kind: FileKind) -> str:
    """Returns a clause about what a wrongly laid out folder contains, or '' if it is empty."""
    with os.scandir(folder) as entries:
        names = {e.name: e.is_dir() for e in entries if not e.name.startswith(".")}
    folders = sorted(name for name, is_folder in names.items() if is_folder)
    files = [name for name, is_folder in names.items() if not is_folder]
    matching = sum(name.lower().endswith(kind.suffixes) for name in files)
    if matching:
        return f", but {matching} {kind.plural} in no class folder (is the folder above it meant?)"
    if folders:
        return f", but a folder {folders[0]!r} (is {str(folder)!r} meant?)"
    others = sorted({pathlib.PurePath(name).suffix.lower() or "plain" for name in files})
    return f", but {' and '.join(others[:3])} files" if others else ""


def list_files(folder: pathlib.Path, kind: FileKind) -> list[str]:
    """Returns the sorted paths of the files of one class.

    Raises:
      InputError: the class has no files, or `check_file` refuses one.
    """
    with os.scandir(folder) as entries:
        paths = sorted(
            entry.path
            for entry in entries
            if entry.name.lower().endswith(kind.suffixes)
            and not entry.name.startswith(".")
            and not entry.is_dir()
        )
    if not paths:
        raise InputError(
            f"class folder {str(folder)!r} has no {kind.plural}{_describe_content(folder, kind)}: "
            f"remove it or fill it; the expected layout is {kind.layout}"
        )
    for path in paths:
        check_file(path, kind)
    return paths


def check_file(path: str, kind: FileKind) -> None:
    """Checks the first bytes of a file, to find a wrong file before the training starts.

    Raises:
      InputError: the file is unreadable, empty, or refused by `kind.check`.
    """
    try:
        with open(path, "rb") as file:
            beginning = file.read(16)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}): replace or remove it"
        ) from error
    if not beginning:
        raise InputError(f"{path}: the file is empty: replace or remove it")
    kind.check(path, beginning)
