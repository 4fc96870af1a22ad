"""ModelNet40 as point clouds (Sec. 4.3), from HDF5 files in the layout most people have.

That is the layout of Stanford's `modelnet40_ply_hdf5_2048.zip`: 2,048 points sampled from each
mesh, for 9,840 training and 2,468 test meshes. Any number of classes and points will do, so
ModelNet10 in the same layout loads as well.
"""

import pathlib

import h5py
import numpy as np

from perceiver.data.errors import DataError
from perceiver.data.folders import existing
from perceiver.data.points import clouds as point_clouds
from perceiver.data.source import Dataset, Source
from perceiver.data.tensorflow_cpu import tf

LAYOUT = (
    "train_files.txt, test_files.txt, shape_names.txt and the .h5 files that the lists name, as "
    "unpacked from modelnet40_ply_hdf5_2048.zip"
)


def load(
    *,
    dir: str,
    num_points: int,
    scale: tuple[float, float],
    translation: float,
    rotation: str,
    up_axis: str = "y",
) -> Dataset:
    """Reads all clouds into memory: 0.3 GB for ModelNet40 with 2,048 points.

    Each cloud is zero-centred; in training num_points are drawn without replacement and
    augmented (see `point_clouds.augment`), in evaluation the first num_points are taken; then
    it is normalised to zero mean and the unit cube.

    Args:
      dir: folder with the lists and the .h5 files; the folder part of the names in the lists
        (`data/...`) is not used.
      num_points: M, points of a cloud that comes out.
      scale: range of the random factor of each point; the paper's is (0.99, 1.01).
      translation: largest random movement of a point along each axis; 0 for none.
      rotation: 'none', 'up' (about the up axis) or 'any'.
      up_axis: the axis that points up, for rotation 'up'. In Stanford's files that is 'y'; in
        clouds sampled from Princeton's meshes as they are it is 'z'.

    Returns:
      'points', float32 [M, 3] within [-1, 1], and 'label', int32 [].

    Raises:
      DataError: options that cannot be, missing or damaged files, too few points, labels without
        a name, or points that are not finite; the file and the example are named.
    """
    _check(num_points, scale, translation, rotation, up_axis)
    folder = existing(dir, LAYOUT)
    class_names = tuple(_lines(folder / "shape_names.txt"))

    def source(split: str) -> Source:
        clouds, labels = _read_split(folder, split, num_points, len(class_names))
        # tf.data functions take large constants by reference, so there is one copy in memory.
        all_clouds, all_labels = tf.constant(clouds), tf.constant(labels)

        def example(index: tf.Tensor, seed: tf.Tensor | None) -> dict[str, tf.Tensor]:
            points = point_clouds.zero_centre(tf.gather(all_clouds, index))
            if seed is None:
                points = point_clouds.choose(points, num_points, None)
            else:
                for_choice, for_rest = tf.unstack(tf.random.split(seed, 2))
                points = point_clouds.choose(points, num_points, for_choice)
                points = point_clouds.augment(
                    points,
                    for_rest,
                    scale=scale,
                    translation=translation,
                    rotation=rotation,
                    up_axis=up_axis,
                )
            return {
                "points": point_clouds.normalise(points),
                "label": tf.gather(all_labels, index),
            }

        return Source(len(labels), example, lambda index: f"{folder}: {split} cloud {index}")

    return Dataset(train=source("train"), eval=source("test"), class_names=class_names)


def _check(
    num_points: int, scale: tuple[float, float], translation: float, rotation: str, up_axis: str
) -> None:
    if num_points < 1:
        raise DataError(f"num_points is {num_points}: give at least 1")
    if not 0 < scale[0] <= scale[1]:
        raise DataError(f"scale is {scale}: give a range of positive factors, such as (0.99, 1.01)")
    if translation < 0:
        raise DataError(f"translation is {translation}: give 0 or more")
    if rotation not in point_clouds.ROTATIONS:
        raise DataError(f"rotation is {rotation!r}: give one of {point_clouds.ROTATIONS}")
    if up_axis not in point_clouds.AXES:
        raise DataError(f"up_axis is {up_axis!r}: give one of {point_clouds.AXES}")


def _read_split(
    folder: pathlib.Path, split: str, num_points: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The clouds, float32 [n, P, 3], and labels, int32 [n], of all files that a list names."""
    names = [pathlib.PurePosixPath(line).name for line in _lines(folder / f"{split}_files.txt")]
    parts = [_read_file(folder / name, num_points, num_classes) for name in names]
    sizes = {clouds.shape[1] for clouds, _ in parts}
    if len(sizes) > 1:
        raise DataError(
            f"{folder}: {split} files have clouds of {sorted(sizes)} points: make them equal"
        )
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _lines(path: pathlib.Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path} is missing: the folder should hold {LAYOUT}")
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty: the folder should hold {LAYOUT}")
    return lines


def _read_file(
    path: pathlib.Path, num_points: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path} is missing: the folder should hold {LAYOUT}")
    try:
        with h5py.File(path, "r") as file:
            clouds, labels = file["data"][:], file["label"][:].reshape(-1)
    except (OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}): unpack the archive again") from error
    if clouds.ndim != 3 or clouds.shape[2] != 3 or len(clouds) != len(labels):
        raise DataError(
            f"{path}: data has shape {clouds.shape} for {len(labels)} labels: it should be "
            "(N, P, 3)"
        )
    if clouds.shape[1] < num_points:
        raise DataError(
            f"{path}: clouds have {clouds.shape[1]} points, fewer than num_points {num_points}: "
            "lower num_points"
        )
    beyond = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(beyond):
        raise DataError(
            f"{path}: example {beyond[0]} has label {labels[beyond[0]]}, but shape_names.txt has "
            f"{num_classes} names: take both from one archive"
        )
    broken = np.flatnonzero(~np.isfinite(clouds).all(axis=(1, 2)))
    if len(broken):
        raise DataError(
            f"{path}: example {broken[0]} has points that are not finite ({len(broken)} examples "
            "in all): repair the file"
        )
    return clouds.astype(np.float32), labels.astype(np.int32)
