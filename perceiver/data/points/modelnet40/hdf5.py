"""Reads clouds from HDF5 files in the layout of Stanford's `modelnet40_ply_hdf5_2048.zip`.

That archive has 2,048 points sampled from each of 9,840 training and 2,468 test meshes. The layout
may have any classes and any number of points, so ModelNet10 and a user's clouds load as well.
"""

import io
import pathlib

import h5py
import numpy as np

from perceiver.data.errors import reason
from perceiver.data.points import files
from perceiver.data.points.modelnet40.archives import Archive
from perceiver.data.points.modelnet40.classes import OFFICIAL
from perceiver.errors import InputError

LAYOUT = (
    "train_files.txt, test_files.txt, shape_names.txt and the .h5 files that the lists name, as "
    "unpacked from modelnet40_ply_hdf5_2048.zip"
)
LISTS = ("train_files.txt", "test_files.txt", "shape_names.txt")


def class_names(archive: Archive) -> tuple[str, ...]:
    """Returns the class names of shape_names.txt, in the order of the labels.

    Raises:
      InputError: the file is missing or empty, or lists ModelNet's classes in another order.
    """
    names = tuple(_lines(archive, "shape_names.txt"))
    for official in OFFICIAL.values():
        if set(names) == set(official.class_names) and names != official.class_names:
            raise InputError(
                f"{archive.path('shape_names.txt')} has the classes of {official.name} in another "
                "order: take it from the archive that the .h5 files are from"
            )
    return names


def read_split(
    archive: Archive, split: str, num_classes: int, num_points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Reads all clouds of a split.

    Args:
      archive: folder or archive with the lists of files. The folder part of the listed names
        (`data/...`) is ignored.
      split: 'train' or 'test'.
      num_classes: number of classes.
      num_points: number of points that a cloud must have.

    Returns:
      The clouds, float32 [n, P, 3], and their labels, int32 [n].

    Raises:
      InputError: missing or damaged files, too few points, labels out of range, or points that are
        not finite. The message names the file and the example.
    """
    names = [pathlib.PurePosixPath(line).name for line in _lines(archive, f"{split}_files.txt")]
    parts = [_read_file(archive, name, num_points, num_classes) for name in names]
    sizes = {clouds.shape[1] for clouds, _ in parts}
    if len(sizes) > 1:
        raise InputError(
            f"{archive.root}: {split} files have clouds of {sorted(sizes)} points: make them equal"
        )
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _lines(archive: Archive, name: str) -> list[str]:
    text = _read(archive, name).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{archive.path(name)} is empty: the folder should hold {LAYOUT}")
    return lines


def _read(archive: Archive, name: str) -> bytes:
    if name not in archive.list("")[1]:
        raise InputError(f"{archive.path(name)} is missing: the folder should hold {LAYOUT}")
    return archive.read(name)


def _read_file(
    archive: Archive, name: str, num_points: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    path, data = archive.path(name), _read(archive, name)
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
            f"{path}: data has shape {clouds.shape} for {len(labels)} labels: give one of shape "
            "(N, P, 3)"
        )
    if clouds.shape[1] < num_points:
        raise InputError(
            f"{path}: clouds have {clouds.shape[1]} points, fewer than num_points {num_points}: "
            "lower num_points"
        )
    # NaN fails the comparisons, here and below.
    invalid = np.flatnonzero(
        ~((labels >= 0) & (labels < num_classes) & (labels == np.floor(labels)))
    )
    if len(invalid):
        raise InputError(
            f"{path}: example {invalid[0]} has label {labels[invalid[0]]}, but shape_names.txt has "
            f"{num_classes} names: take both from one archive"
        )
    with np.errstate(over="ignore"):  # the next check finds what float32 cannot hold
        clouds = clouds.astype(np.float32)
    broken = np.flatnonzero(~(np.abs(clouds) <= files.MAX_COORDINATE).all(axis=(1, 2)))
    if len(broken):
        raise InputError(
            f"{path}: example {broken[0]} has points that are not finite ({len(broken)} examples "
            "in all): repair the file"
        )
    return clouds, labels.astype(np.int32)
