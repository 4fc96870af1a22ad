"""Reads a TFDS data set of point clouds that `builder.prepare` made."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

from perceiver.data import tfds_folder
from perceiver.data.errors import reason, unreadable_as_input_error
from perceiver.data.points.modelnet40 import layouts
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

_BATCH = 256  # clouds decoded at once
# The folder of the data set in the folder given to `prepare`, or in one of its subfolders.
_VERSION = "[0-9]*.[0-9]*.[0-9]*/"
_PATTERNS = ("", _VERSION, f"modelnet[14]0/{_VERSION}", f"modelnet/modelnet[14]0/{_VERSION}")


@unreadable_as_input_error()
def find(dir: str) -> pathlib.Path | None:
    """Returns the folder of the data set in `dir` or its subfolders, or None.

    Raises:
      InputError: there is more than one data set.
    """
    folder = pathlib.Path(dir)
    if not dir or not folder.is_dir():
        return None
    found = sorted(
        path.parent for pattern in _PATTERNS for path in folder.glob(f"{pattern}dataset_info.json")
    )
    if len(found) > 1:
        listed = " or ".join(repr(str(path)) for path in found)
        raise InputError(f"{dir!r} holds {len(found)} data sets: give {listed}")
    return found[0] if found else None


def read(folder: pathlib.Path, *, num_points: int, partial: bool) -> layouts.Layout:
    """Reads all clouds of a data set.

    Args:
      folder: folder of the data set, from `find`.
      num_points: number of points that a cloud must have.
      partial: True to accept other numbers of clouds than the official ones.

    Raises:
      InputError: another kind of data set, damaged records, too few points, or other numbers of
        clouds than the official ones.
    """
    builder = tfds_folder.open_folder(str(folder), "make the data set again")
    try:
        shape = builder.info.features["points"].shape
        class_names = tuple(builder.info.features["label"].names)
        sizes = {split: builder.info.splits[split].num_examples for split in ("train", "test")}
        if "name" not in builder.info.features or shape[1:] != (3,) or not shape[0]:
            raise ValueError(f"features are {builder.info.features}")
    except (AttributeError, LookupError, TypeError, ValueError, OSError) as error:
        raise InputError(
            f"{str(folder)!r} is no data set of point clouds: make it with `{layouts.PREPARE}`"
        ) from error
    if shape[0] < num_points:
        raise InputError(
            f"{str(folder)!r}: clouds have {shape[0]} points, fewer than num_points {num_points}: "
            "lower num_points"
        )
    splits = {split: _read_split(builder, split, size, shape) for split, size in sizes.items()}
    layout = layouts.Layout("prepared", str(folder), class_names, shape[0], splits)
    layouts.check_counts(layout, partial)
    return layout


def _read_split(
    builder: tfds.core.DatasetBuilder, split: str, size: int, shape: tuple[int, int]
) -> layouts.CloudSplit:
    points, labels = np.empty((size, *shape), np.float32), np.empty(size, np.int32)
    names: list[str] = []
    # In the order of the files, so that an example has the same index in each run.
    in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    dataset = builder.as_dataset(split=split, read_config=in_order, shuffle_files=False)
    try:
        for batch in dataset.batch(_BATCH).as_numpy_iterator():
            rows = slice(len(names), len(names) + len(batch["label"]))
            points[rows], labels[rows] = batch["points"], batch["label"]
            names += [name.decode() for name in batch["name"]]
    except (tf.errors.OpError, ValueError) as error:
        raise InputError(
            f"{builder.data_path}: the {split} records cannot be read ({reason(error)}): make the "
            "data set again"
        ) from error
    if len(names) != size:
        raise InputError(
            f"{builder.data_path}: {len(names):,} of {size:,} {split} records exist: make the "
            "data set again"
        )
    return layouts.in_memory(names, labels, points)
