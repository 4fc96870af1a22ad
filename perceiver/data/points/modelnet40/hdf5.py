"""Clouds in HDF5 files, in the layout of Stanford's `modelnet40_ply_hdf5_2048.zip`.

There, 2,048 points were sampled from each mesh, for 9,840 training and 2,468 test meshes. Any
classes and any number of points will do, so ModelNet10 and one's own clouds in the same layout
load as well.
"""

import io
import pathlib

import h5py
import numpy as np

from perceiver.data.errors import reason
from perceiver.data.points import files
from perceiver.data.points.modelnet40.archives import Tree
from perceiver.data.points.modelnet40.classes import OFFICIAL
from perceiver.errors import InputError

LAYOUT = (
    "train_files.txt, test_files.txt, shape_names.txt and the .h5 files that the lists name, as "
    "unpacked from modelnet40_ply_hdf5_2048.zip"
)
LISTS = ("train_files.txt", "test_files.txt", "shape_names.txt")


def class_names(tree: Tree) -> tuple[str, ...]:
    """The names in shape_names.txt, by label.

    Raises:
      InputError: the file is missing or empty, or has ModelNet's names in another order.
    """
    names = tuple(_lines(tree, "shape_names.txt"))
    for official in OFFICIAL.values():
        if set(names) == set(official.class_names) and names != official.class_names:
            raise InputError(
                f"{tree.name('shape_names.txt')} has the classes of {official.name} in another "
                "order: take it from the archive that the .h5 files are from"
            )
    return names


def read_split(
    tree: Tree, split: str, num_classes: int, num_points: int
) -> tuple[np.ndarray, np.ndarray]:
    """All clouds that a list names.

    Args:
      tree: the folder or archive with the lists. The folder part of the names in them
        (`data/...`) is not used.
      split: 'train' or 'test'.
      num_classes: labels must be below it.
      num_points: clouds must have as many points or more.

    Returns:
      The clouds, float32 [n, P, 3], and labels, int32 [n].

    Raises:
      InputError: missing or damaged files, too few points, labels without a name, or points that
        are not finite; the file and the example are named.
    """
    names = [pathlib.PurePosixPath(line).name for line in _lines(tree, f"{split}_files.txt")]
    parts = [_read_file(tree, name, num_points, num_classes) for name in names]
    sizes = {clouds.shape[1] for clouds, _ in parts}
    if len(sizes) > 1:
        raise InputError(
            f"{tree.root}: {split} files have clouds of {sorted(sizes)} points: make them equal"
        )
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _lines(tree: Tree, name: str) -> list[str]:
    text = _read(tree, name).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{tree.name(name)} is empty: the folder should hold {LAYOUT}")
    return lines


def _read(tree: Tree, name: str) -> bytes:
    if name not in tree.list("")[1]:
        raise InputError(f"{tree.name(name)} is missing: the folder should hold {LAYOUT}")
    return tree.read(name)


def _read_file(
    tree: Tree, name: str, num_points: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    path, data = tree.name(name), _read(tree, name)
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            clouds = files.h5_numbers(file, "data", len(data))
            labels = files.h5_numbers(file, "label", len(data)).reshape(-1)
    except files.UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read ({reason(error)}): unpack the archive again"
        ) from error
    if clouds.ndim != 3 or clouds.shape[2] != 3 or len(clouds) != len(labels):
        raise InputError(
            f"{path}: data has shape {clouds.shape} for {len(labels)} labels: it should be "
            "(N, P, 3)"
        )
    if clouds.shape[1] < num_points:
        raise InputError(
            f"{path}: clouds have {clouds.shape[1]} points, fewer than num_points {num_points}: "
            "lower num_points"
        )
    # NaN fails the comparisons, here and below.
    beyond = np.flatnonzero(
        ~((labels >= 0) & (labels < num_classes) & (labels == np.floor(labels)))
    )
    if len(beyond):
        raise InputError(
            f"{path}: example {beyond[0]} has label {labels[beyond[0]]}, but shape_names.txt has "
            f"{num_classes} names: take both from one archive"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is found next
        clouds = clouds.astype(np.float32)
    broken = np.flatnonzero(~(np.abs(clouds) <= files.FARTHEST).all(axis=(1, 2)))
    if len(broken):
        raise InputError(
            f"{path}: example {broken[0]} has points that are not finite ({len(broken)} examples "
            "in all): repair the file"
        )
    return clouds, labels.astype(np.int32)
