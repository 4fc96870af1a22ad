"""Finds the files of a folder of classes and, where there is no split, makes one.

The layout is that of ImageNet as most people unpack it: a folder for each class. Names of files
and folders are data: spaces, quotes and a leading '-' mean nothing here.
"""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable

from perceiver.data.errors import existing_folder, unreadable_as_input_error
from perceiver.errors import InputError

_READERS = 16  # folders read at once: on a network disk most of the time is waiting

Files = dict[str, list[str]]  # class name -> paths of its files, sorted


def _no_check(path: str, beginning: bytes) -> None:
    """Takes any content."""


@dataclasses.dataclass(frozen=True)
class FileKind:
    """What a data set of files is made of.

    Attributes:
      plural: what messages call the files, such as 'pictures'.
      suffixes: of their names, in lower case; the first is the usual one.
      check: takes a path and the file's first bytes, and raises an InputError that names the file
        where they can't be right.
    """

    plural: str
    suffixes: tuple[str, ...]
    check: Callable[[str, bytes], None] = _no_check

    @property
    def layout(self) -> str:
        """The folders in which they are expected."""
        usual = self.suffixes[0]
        return (
            f"train/<class>/*{usual} and val/<class>/*{usual}, or <class>/*{usual} "
            f"({', '.join(self.suffixes[:-1])} or {self.suffixes[-1]})"
        )


@unreadable_as_input_error()
def find(dir: str, kind: FileKind, val_fraction: float, split_seed: int) -> tuple[Files, Files]:
    """The training and the evaluation files below `dir`.

    With folders `train` and `val` these are the splits. Otherwise the folders in `dir` are the
    classes and `hold_out` makes the split. Hidden files and folders are passed over, and so are
    files whose names do not end as those of the kind do.

    Args:
      dir: the folder.
      kind: what to look for.
      val_fraction: share of all files to hold out where there is no split.
      split_seed: decides which.

    Returns:
      (train, val), each a dict from the class names, sorted, to the paths of the files. Where
      the split is made here, a class may have none in one of the two.

    Raises:
      InputError: no folder, one that can't be read, no classes, a class without files, classes in
        one split only, or a file that is empty or that the kind refuses; the file, folder or class
        is named.
    """
    root = existing_folder(dir, kind.layout)
    splits = [name for name in ("train", "val") if (root / name).is_dir()]
    if len(splits) == 1 and _subfolders(root / splits[0]):
        other = "val" if splits == ["train"] else "train"
        raise InputError(
            f"{str(root)!r} has {splits[0]!r} but no {other!r}: add it, or give "
            f"{str(root / splits[0])!r} to have a part of that held out"
        )
    if len(splits) < 2:
        return hold_out(_list_classes(root, kind), root, kind, val_fraction, split_seed)
    train, val = (_list_classes(root / name, kind) for name in splits)
    for name, classes, others in (("train", train, val), ("val", val, train)):
        alone = [repr(found) for found in classes if found not in others]
        if alone:
            raise InputError(
                f"{str(root)!r}: {len(alone)} classes are only in {name}: {', '.join(alone[:5])}"
                f"{', ...' if len(alone) > 5 else ''}: train and val must have the same classes"
            )
    return train, val


def hold_out(
    files: Files, root: pathlib.Path, kind: FileKind, val_fraction: float, split_seed: int
) -> tuple[Files, Files]:
    """Holds out round(val_fraction * number of files), spread over the classes.

    Each class gives its share, rounded so that the total is met (largest remainder). Which ones
    depends on a hash of the seed and the path below `root`, so it is the same on every machine.

    Raises:
      InputError: a val_fraction that is no share, or one that holds out none or all.
    """
    if not 0 < val_fraction < 1:
        raise InputError(
            f"val_fraction {val_fraction} is no share to hold out: give one between 0 and 1"
        )
    total = sum(len(paths) for paths in files.values())
    wanted = round(total * val_fraction)
    if not 0 < wanted < total:
        raise InputError(
            f"val_fraction {val_fraction} of the {total} {kind.plural} in {str(root)!r} is "
            f"{wanted}: at least one must be held out and one left; give another share, or more "
            f"{kind.plural}"
        )

    def draw(path: str | pathlib.Path) -> bytes:
        below = os.fsencode(pathlib.Path(path).relative_to(root).as_posix())
        return hashlib.sha256(f"{split_seed}/".encode() + below).digest()

    # Exact in integers: class c is due len(c) * wanted / total, and the classes with the largest
    # remainders get one more. Equal remainders are common (a file a class), so a draw breaks
    # ties, not the alphabet.
    due = {name: divmod(len(paths) * wanted, total) for name, paths in files.items()}
    left_over = wanted - sum(whole for whole, _ in due.values())
    by_remainder = sorted(due, key=lambda name: (-due[name][1], draw(root / name)))
    shares = {name: due[name][0] for name in due}
    for name in by_remainder[:left_over]:
        shares[name] += 1

    train, val = {}, {}
    for name, paths in files.items():
        drawn = sorted(paths, key=draw)
        val[name] = sorted(drawn[: shares[name]])
        train[name] = sorted(drawn[shares[name] :])
    return train, val


def _list_classes(folder: pathlib.Path, kind: FileKind) -> Files:
    classes = _subfolders(folder)
    if not classes:
        raise InputError(
            f"no class folders in {str(folder)!r}{_what_is_there(folder, kind)}: the expected "
            f"layout is {kind.layout}"
        )
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        listed = readers.map(lambda name: list_files(folder / name, kind), classes)
        return dict(zip(classes, listed, strict=True))


def _subfolders(folder: pathlib.Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def _what_is_there(folder: pathlib.Path, kind: FileKind) -> str:
    """What a folder that is not as expected has instead, where that shows which was meant."""
    with os.scandir(folder) as entries:
        names = {e.name: e.is_dir() for e in entries if not e.name.startswith(".")}
    folders = sorted(name for name, is_folder in names.items() if is_folder)
    files = [name for name, is_folder in names.items() if not is_folder]
    ours = sum(name.lower().endswith(kind.suffixes) for name in files)
    if ours:
        return f", but {ours} {kind.plural} in no class folder (is the folder above it meant?)"
    if folders:
        return f", but a folder {folders[0]!r} (is {str(folder)!r} meant?)"
    others = sorted({pathlib.PurePath(name).suffix.lower() or "plain" for name in files})
    return f", but {' and '.join(others[:3])} files" if others else ""


def list_files(folder: pathlib.Path, kind: FileKind) -> list[str]:
    """The files of one class, sorted; an InputError where there is none, or one can't be right."""
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
            f"class folder {str(folder)!r} has no {kind.plural}{_what_is_there(folder, kind)}: "
            f"remove it or fill it; the expected layout is {kind.layout}"
        )
    for path in paths:
        check_file(path, kind)
    return paths


def check_file(path: str, kind: FileKind) -> None:
    """Looks at a file's first bytes, so that a wrong one is found before the training starts.

    Raises:
      InputError: it can't be read, is empty, or the kind refuses it.
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
