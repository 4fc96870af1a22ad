"""Finds the pictures of a folder of classes and, where there is no split, makes one.

The layout is that of ImageNet as most people unpack it: a folder for each class. Names of files
and folders are data: spaces, quotes and a leading '-' mean nothing here.
"""

import concurrent.futures
import hashlib
import os
import pathlib

from perceiver.data.errors import DataError
from perceiver.data.folders import existing

LAYOUT = "train/<class>/*.jpg and val/<class>/*.jpg, or <class>/*.jpg (.jpg, .jpeg or .png)"

JPEG_MAGIC = b"\xff\xd8"
PNG_MAGIC = b"\x89PNG"

_SUFFIXES = (".jpg", ".jpeg", ".png")
_READERS = 16  # folders read at once: on a network disk most of the time is waiting

Pictures = dict[str, list[str]]  # class name -> paths of its pictures, sorted


def find(dir: str, val_fraction: float, split_seed: int) -> tuple[Pictures, Pictures]:
    """The training and the evaluation pictures below `dir`.

    With folders `train` and `val` these are the splits. Otherwise the folders in `dir` are the
    classes and `hold_out` makes the split. Hidden files and folders are passed over, and so are
    files that are not called .jpg, .jpeg or .png.

    Args:
      dir: the folder.
      val_fraction: share of all pictures to hold out where there is no split.
      split_seed: decides which.

    Returns:
      (train, val), each a dict from the class names, sorted, to the paths of the pictures. Where
      the split is made here, a class may have none in one of the two.

    Raises:
      DataError: no folder, no classes, a class without pictures, classes in one split only, or a
        file that is empty or neither JPEG nor PNG; the file or class is named.
    """
    root = existing(dir, LAYOUT)
    splits = [name for name in ("train", "val") if (root / name).is_dir()]
    if len(splits) == 1 and _subfolders(root / splits[0]):
        other = "val" if splits == ["train"] else "train"
        raise DataError(
            f"{str(root)!r} has {splits[0]!r} but no {other!r}: add it, or give "
            f"{str(root / splits[0])!r} to have a part of that held out"
        )
    if len(splits) < 2:
        return hold_out(_list_classes(root), root, val_fraction, split_seed)
    train, val = (_list_classes(root / name) for name in splits)
    for name, classes, others in (("train", train, val), ("val", val, train)):
        alone = [repr(found) for found in classes if found not in others]
        if alone:
            raise DataError(
                f"{str(root)!r}: {len(alone)} classes are only in {name}: {', '.join(alone[:5])}"
                f"{', ...' if len(alone) > 5 else ''}: train and val must have the same classes"
            )
    return train, val


def hold_out(
    pictures: Pictures, root: pathlib.Path, val_fraction: float, split_seed: int
) -> tuple[Pictures, Pictures]:
    """Holds out round(val_fraction * number of pictures), spread over the classes.

    Each class gives its share, rounded so that the total is met (largest remainder). Which ones
    depends on a hash of the seed and the path below `root`, so it is the same on every machine.

    Raises:
      DataError: nothing would be held out, or nothing left.
    """
    total = sum(len(paths) for paths in pictures.values())
    wanted = round(total * val_fraction)
    if not 0 < wanted < total:
        raise DataError(
            f"val_fraction {val_fraction} of the {total} pictures in {str(root)!r} is {wanted}: "
            "at least one must be held out and one left"
        )

    def draw(path: str | pathlib.Path) -> bytes:
        below = os.fsencode(pathlib.Path(path).relative_to(root).as_posix())
        return hashlib.sha256(f"{split_seed}/".encode() + below).digest()

    # Exact in integers: class c is due len(c) * wanted / total, and the classes with the largest
    # remainders get one more. Equal remainders are common (a picture a class), so a draw breaks
    # ties, not the alphabet.
    due = {name: divmod(len(paths) * wanted, total) for name, paths in pictures.items()}
    left_over = wanted - sum(whole for whole, _ in due.values())
    by_remainder = sorted(due, key=lambda name: (-due[name][1], draw(root / name)))
    shares = {name: due[name][0] for name in due}
    for name in by_remainder[:left_over]:
        shares[name] += 1

    train, val = {}, {}
    for name, paths in pictures.items():
        drawn = sorted(paths, key=draw)
        val[name] = sorted(drawn[: shares[name]])
        train[name] = sorted(drawn[shares[name] :])
    return train, val


def _list_classes(folder: pathlib.Path) -> Pictures:
    classes = _subfolders(folder)
    if not classes:
        raise DataError(f"no class folders in {str(folder)!r}: the expected layout is {LAYOUT}")
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        listed = readers.map(_list_pictures, [folder / name for name in classes])
        return dict(zip(classes, listed, strict=True))


def _subfolders(folder: pathlib.Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def _list_pictures(folder: pathlib.Path) -> list[str]:
    with os.scandir(folder) as entries:
        paths = sorted(
            entry.path
            for entry in entries
            if entry.name.lower().endswith(_SUFFIXES)
            and not entry.name.startswith(".")
            and not entry.is_dir()
        )
    if not paths:
        raise DataError(
            f"class folder {str(folder)!r} has no pictures: remove it or fill it; the expected "
            f"layout is {LAYOUT}"
        )
    for path in paths:
        _check_picture(path)
    return paths


def _check_picture(path: str) -> None:
    """Looks at the first bytes, so that a wrong file is found before the training starts."""
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}): replace or remove it"
        ) from error
    if not magic:
        raise DataError(f"{path}: the file is empty: replace or remove it")
    if not magic.startswith((JPEG_MAGIC, PNG_MAGIC)):
        raise DataError(
            f"{path}: neither JPEG nor PNG (it begins with {magic!r}): convert or remove it"
        )
