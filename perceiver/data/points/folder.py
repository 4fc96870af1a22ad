"""Loads a user's point clouds and meshes, one folder per class, with the recipe of Sec. 4.3."""

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
_MAX_POINTS = 2048  # points used of a file, unless num_points is larger
_THREADS = 8  # files read at once: part of the parsing releases the interpreter lock


@takes_recipe(CloudRecipe)
def load(*, dir: str, val_fraction: float, split_seed: int, recipe: CloudRecipe) -> Dataset:
    """Reads all files into memory, up to 2,048 points or num_points of each.

    A mesh is sampled uniformly over its surface, and a larger cloud is subsampled. The random
    choice depends only on the path relative to `dir`, so it is the same on every machine. All
    clouds are cut to the size of the smallest.

    Args:
      dir: folder with train/<class>/* and val/<class>/*, or <class>/*, or, as in Princeton's
        ModelNet, <class>/train/* and <class>/test/*. `files` lists the formats.
      val_fraction: fraction of the files for validation, if `dir` has no split.
      split_seed: seed of that split.
      recipe: preprocessing and augmentation; its attributes are options of the loader.

    Returns:
      A data set of 'points', float32 [M, 3] within [-1, 1], and 'label', int32 [].

    Raises:
      InputError: an invalid option, another layout of folders, or a file that is empty, damaged,
        pickled, not finite or has fewer than num_points points. The message names the file.
    """
    root = pathlib.Path(dir)
    train, val = _find(root, val_fraction, split_seed) or class_folders.find(
        dir, KIND, val_fraction, split_seed
    )
    splits = {"training": train, "held-out": val}
    for name, split in splits.items():
        if not any(split.values()):
            raise InputError(f"{dir!r} has no {name} point files: both splits must have some")
    return Dataset(
        train=_source(root, train, recipe),
        eval=_source(root, val, recipe),
        class_names=tuple(train),
    )


@unreadable_as_input_error()
def _find(root: pathlib.Path, val_fraction: float, split_seed: int) -> tuple[Files, Files] | None:
    """Finds the files of folders <class>/{train,test}; returns None for another layout."""
    if not root.is_dir():
        return None
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    nested = [name for name in classes if (root / name / "train").is_dir()]
    if not nested:
        return None
    without = [name for name in classes if name not in nested]
    if without:
        raise InputError(
            f"{str(root)!r}: class {without[0]!r} has no folder 'train', {nested[0]!r} has one: "
            "add it"
        )
    train = {name: class_folders.list_files(root / name / "train", KIND) for name in classes}
    with_test = [name for name in classes if (root / name / "test").is_dir()]
    if not with_test:
        return class_folders.split_off_validation(train, root, KIND, val_fraction, split_seed)
    if with_test != classes:
        (lacks, *_) = sorted(set(classes).difference(with_test))
        raise InputError(
            f"{str(root)!r}: class {lacks!r} has no folder 'test', {with_test[0]!r} has one: add it"
        )
    return train, {name: class_folders.list_files(root / name / "test", KIND) for name in classes}


def _source(root: pathlib.Path, split: Files, recipe: CloudRecipe) -> Source:
    paths = [path for name in split for path in split[name]]
    sizes = [len(found) for found in split.values()]
    labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    num_points = recipe.num_points

    def read(path: str) -> np.ndarray:
        return read_file(path, pathlib.Path(path).relative_to(root).as_posix(), num_points)

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        all_points = list(pool.map(read, paths))
    # Points are in random order, so the first ones are a random subset.
    smallest = min(len(points) for points in all_points)
    points = np.stack([points[:smallest] for points in all_points])
    return clouds.source(points, labels, recipe, paths.__getitem__)


def read_file(path: str, key: str, num_points: int) -> np.ndarray:
    """Reads the points of a file, zero-centred and in random order.

    Args:
      path: path of the file.
      key: seed of the random choice, the path relative to the folder of the data set.
      num_points: number M of points that a cloud must have.

    Returns:
      Array float32 [n, 3] with n >= M.

    Raises:
      InputError: the file is empty, damaged, pickled, not finite or has fewer than M points. The
        message names the file.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}): replace or remove it"
        ) from error
    points = files.to_cloud(
        files.read(data, path),
        fewest=num_points,
        most=max(num_points, _MAX_POINTS),
        name=path,
        key=key,
    )
    # Centred in float64: coordinates of a survey can be millions of metres from the origin.
    return (points - points.mean(axis=0)).astype(np.float32)
