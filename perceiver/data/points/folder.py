"""Point clouds and meshes of one's own, a folder a class, with the recipe of Sec. 4.3."""

import concurrent.futures
import pathlib

import numpy as np

from perceiver.data import class_folders
from perceiver.data.class_folders import FileKind, Files
from perceiver.data.dataset import Dataset, Source, takes_recipe
from perceiver.data.errors import unreadable_as_input_error
from perceiver.data.points import clouds, files
from perceiver.data.points.clouds import CloudRecipe
from perceiver.errors import InputError

KIND = FileKind("point files", files.SUFFIXES)
_KEPT = 2048  # points kept of a file, or num_points if that is more
_READERS = 8  # files read at once: parsing releases the interpreter in part, and disks wait


@takes_recipe(CloudRecipe)
def load(*, dir: str, val_fraction: float, split_seed: int, recipe: CloudRecipe) -> Dataset:
    """Reads all files into memory and keeps up to 2,048 points of each.

    A mesh is sampled evenly over its surface; of a cloud with more points, some are drawn. Which
    ones depends on the path below `dir` alone, so it is the same on every machine. A cloud keeps
    its size where all are smaller; the smallest sets the size of all.

    Args:
      dir: folder with train/<class>/* and val/<class>/*, or <class>/*, or, as Princeton's ModelNet
        has it, <class>/train/* and <class>/test/*. Files are .off, .ply, .npy, .txt, .pcd or .h5,
        see `files`.
      val_fraction: share to hold out where there is no split.
      split_seed: decides which.
      recipe: its attributes are options as well; no file may have fewer points than num_points.

    Returns:
      'points', float32 [M, 3] within [-1, 1], and 'label', int32 [].

    Raises:
      InputError: options that cannot be, folders that are not as above, or a file that is empty,
        damaged, pickled, not finite or has fewer points; it is named.
    """
    root = pathlib.Path(dir)
    train, val = _find(root, val_fraction, split_seed) or class_folders.find(
        dir, KIND, val_fraction, split_seed
    )
    splits = {"training": train, "held-out": val}
    for what, split in splits.items():
        if not any(split.values()):
            raise InputError(f"{dir!r} has no {what} point files: both splits must have some")
    return Dataset(
        train=_source(root, train, recipe),
        eval=_source(root, val, recipe),
        class_names=tuple(train),
    )


@unreadable_as_input_error()
def _find(root: pathlib.Path, val_fraction: float, split_seed: int) -> tuple[Files, Files] | None:
    """The files of folders <class>/{train,test}; None where that is not how they are laid out."""
    if not root.is_dir():
        return None
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    nested = [name for name in classes if (root / name / "train").is_dir()]
    if not nested:
        return None
    alone = [name for name in classes if name not in nested]
    if alone:
        raise InputError(
            f"{str(root)!r}: class {alone[0]!r} has no folder 'train', {nested[0]!r} has"
        )
    train = {name: class_folders.list_files(root / name / "train", KIND) for name in classes}
    with_test = [name for name in classes if (root / name / "test").is_dir()]
    if not with_test:
        return class_folders.hold_out(train, root, KIND, val_fraction, split_seed)
    if with_test != classes:
        (lacks, *_) = sorted(set(classes).difference(with_test))
        raise InputError(
            f"{str(root)!r}: class {lacks!r} has no folder 'test', {with_test[0]!r} has"
        )
    return train, {name: class_folders.list_files(root / name / "test", KIND) for name in classes}


def _source(root: pathlib.Path, split: Files, recipe: CloudRecipe) -> Source:
    paths = [path for name in split for path in split[name]]
    sizes = [len(found) for found in split.values()]
    labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    num_points = recipe.num_points

    def read(path: str) -> np.ndarray:
        return read_file(path, pathlib.Path(path).relative_to(root).as_posix(), num_points)

    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        read_all = list(readers.map(read, paths))
    # Points are in random order, so the first are as good as any.
    smallest = min(len(points) for points in read_all)
    points = np.stack([points[:smallest] for points in read_all])
    return clouds.source(points, labels, recipe, paths.__getitem__)


def read_file(path: str, key: str, num_points: int) -> np.ndarray:
    """The points that are kept of a file, zero-centred and in random order.

    Args:
      path: the file.
      key: what decides which points are drawn: its path below the folder of the data set.
      num_points: M, the fewest that it may have, a mesh aside.

    Returns:
      float32 [n, 3], n >= M.

    Raises:
      InputError: the file is empty, damaged, pickled, not finite or has fewer points; it is named.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}): replace or remove it"
        ) from error
    shape, most = files.read(data, path), max(num_points, _KEPT)
    points = files.to_cloud(shape, fewest=num_points, most=most, name=path, key=key)
    # Before rounding: coordinates of a survey can be millions of metres from the origin.
    return (points - points.mean(axis=0)).astype(np.float32)
