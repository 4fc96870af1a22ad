"""Finds ModelNet40 and ModelNet10 in the layouts in which they are distributed.

    meshes     Princeton's ModelNet40.zip or ModelNet10.zip: <class>/{train,test}/*.off
    hdf5       Stanford's modelnet40_ply_hdf5_2048, see `hdf5`
    resampled  modelnet40_normal_resampled: <class>/<class>_0001.txt, 10,000 lines x,y,z,nx,ny,nz,
               with lists modelnet40_{train,test}.txt and optionally modelnet10_{train,test}.txt

The content decides between them. Each may be a folder, a .zip, or a folder that holds one of these.
This module imports without TensorFlow, so processes that sample meshes start quickly.
"""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import pathlib
import re
from collections.abc import Callable, Iterator

import numpy as np

from perceiver.data.errors import existing_folder, unreadable_as_input_error
from perceiver.data.points import files
from perceiver.data.points.modelnet40 import hdf5
from perceiver.data.points.modelnet40.archives import Archive, FolderArchive, ZipArchive
from perceiver.data.points.modelnet40.classes import MODELNET40, OFFICIAL
from perceiver.errors import InputError

MESH_POINTS = 2048  # points sampled from a mesh, as in Stanford's files
PREPARE = "python -m experiments.prepare_data modelnet --source=DIR_OR_ZIP --out=DIR"
LAYOUT = (
    f"{hdf5.LAYOUT}; or modelnet40_normal_resampled; or Princeton's ModelNet40.zip or its folders "
    f"<class>/{{train,test}}/*.off; or the output of `{PREPARE}`"
)
_STANFORD = {"train": 9840, "test": 2468}  # three meshes fewer than Princeton's
_MIN_PARALLEL = 64  # number of files from which starting processes pays off


@dataclasses.dataclass(frozen=True)
class CloudSplit:
    """The training or the test clouds.

    Attributes:
      names: unique name of each cloud.
      labels: label of each cloud, int32 [n].
      clouds: function of the number of worker processes -> iterator over the clouds, float32
        [P, 3] each, in the order of the names.
    """

    names: list[str]
    labels: np.ndarray
    clouds: Callable[[int], Iterator[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A data set found in one of the layouts.

    Attributes:
      kind: 'meshes', 'hdf5' or 'resampled', or 'prepared' for a data set that `builder` made.
      root: path of the folder or archive.
      class_names: name of each class, in the order of the labels.
      num_points: number P of points of each cloud.
      splits: the clouds of 'train' and 'test'.
    """

    kind: str
    root: str
    class_names: tuple[str, ...]
    num_points: int
    splits: dict[str, CloudSplit]


@unreadable_as_input_error()
def find(
    source: str, *, classes: int | None = None, partial: bool = False, num_points: int = 1
) -> Layout:
    """Finds the data set in `source`; reads HDF5 files at once, others when clouds are read.

    Args:
      source: path of a folder or .zip file.
      classes: 40 or 10, or None for 10 if the source has only classes or lists of ModelNet10, and
        40 otherwise.
      partial: True to accept other numbers of clouds than the official ones.
      num_points: number of points that a cloud must have.

    Raises:
      InputError: the source has none of the layouts, damaged files, classes of another data set,
        or other numbers of clouds than the official ones.
    """
    if classes is not None and classes not in OFFICIAL:
        raise InputError(f"classes is {classes}: give 40 or 10")
    path = pathlib.Path(source)
    if path.suffix.lower() == ".zip" and path.is_file():
        archive, kind = _locate(ZipArchive(path))
    else:
        archive, kind = _locate(FolderArchive(existing_folder(source, LAYOUT)))
    if kind == "hdf5":
        layout = _hdf5(archive, num_points)
        if classes not in (None, len(layout.class_names)):
            raise InputError(
                f"{layout.root!r} has {len(layout.class_names)} classes, and classes is {classes}: "
                f"set classes to {len(layout.class_names)}"
            )
    else:
        layout = {"meshes": _meshes, "resampled": _resampled}[kind](archive, classes)
        if layout.num_points < num_points:
            raise InputError(
                f"{layout.root!r}: clouds have {layout.num_points} points, fewer than num_points "
                f"{num_points}: lower num_points"
            )
    check_counts(layout, partial)
    return layout


def _locate(archive: Archive) -> tuple[Archive, str]:
    """Returns the folder or archive that directly holds the data set, and the kind of layout."""
    kind = _kind(archive)
    if kind:
        return archive, kind
    folders, names = archive.list("")
    candidates = [archive.subfolder(name) for name in folders]
    if isinstance(archive, FolderArchive):
        for name in names:
            if re.fullmatch(r"modelnet.*\.zip", name, re.IGNORECASE):
                packed = ZipArchive(pathlib.Path(archive.path(name)))
                candidates += [packed, *(packed.subfolder(folder) for folder in packed.list("")[0])]
    found = [(candidate, kind) for candidate in candidates if (kind := _kind(candidate))]
    if not found:
        raise InputError(
            f"{archive.root!r} holds no ModelNet: expected {LAYOUT}; archives are at "
            "https://modelnet.cs.princeton.edu and https://shapenet.cs.stanford.edu/media, and "
            "--source=download:ModelNet40.zip fetches one"
        )
    if len(found) > 1:
        listed = ", ".join(repr(candidate.root) for candidate, _ in found)
        raise InputError(f"{archive.root!r} holds ModelNet more than once: give one of {listed}")
    return found[0]


def _kind(archive: Archive) -> str | None:
    folders, names = archive.list("")
    if any(re.fullmatch(r"modelnet(10|40)_(train|test)\.txt", name) for name in names):
        return "resampled"
    if any(name in hdf5.LISTS for name in names):
        return "hdf5"
    for folder in folders:
        if folder in MODELNET40 and {"train", "test"}.intersection(archive.list(folder)[0]):
            return "meshes"
    return None


def check_counts(layout: Layout, partial: bool) -> None:
    """Checks the numbers of clouds against the official ones; empty splits are never valid.

    Raises:
      InputError: a split is empty, or `partial` is False and the numbers differ.
    """
    found = {name: len(split.labels) for name, split in layout.splits.items()}
    official = OFFICIAL.get(len(layout.class_names))
    stanford = layout.kind in ("hdf5", "prepared") and found == _STANFORD
    if (
        official is not None
        and layout.class_names == official.class_names
        and found != official.counts
        and not (partial or stanford)
    ):
        raise InputError(
            f"{layout.root!r} has {found['train']:,} training and {found['test']:,} test clouds, "
            f"and {official.name} has {official.counts['train']:,} and "
            f"{official.counts['test']:,}: complete it, or set partial to use these"
        )
    empty = [name for name, count in found.items() if not count]
    if empty:
        raise InputError(f"{layout.root!r} has no {empty[0]} clouds: add some to both splits")


def _hdf5(archive: Archive, num_points: int) -> Layout:
    class_names = hdf5.class_names(archive)
    splits, sizes = {}, {}
    for split in ("train", "test"):
        clouds, labels = hdf5.read_split(archive, split, len(class_names), num_points)
        names = [f"{split} cloud {index}" for index in range(len(labels))]
        splits[split] = in_memory(names, labels, clouds)
        sizes[split] = clouds.shape[1]
    if sizes["train"] != sizes["test"]:
        raise InputError(
            f"{archive.root}: training clouds have {sizes['train']} points and test clouds "
            f"{sizes['test']}: make them equal"
        )
    return Layout("hdf5", archive.root, class_names, sizes["train"], splits)


def in_memory(names: list[str], labels: np.ndarray, clouds: np.ndarray) -> CloudSplit:
    """Returns a split of clouds, float32 [n, P, 3], that are in memory."""
    return CloudSplit(names, labels, lambda workers: iter(clouds))


def _meshes(archive: Archive, classes: int | None) -> Layout:
    folders = archive.list("")[0]
    unknown = [folder for folder in folders if folder not in MODELNET40]
    if unknown:
        raise InputError(
            f"{archive.root!r}: folder {unknown[0]!r} is no class of ModelNet40: remove it, or use "
            "the data set point_folder for other classes"
        )
    if classes is None:
        classes = 10 if set(folders) <= set(OFFICIAL[10].class_names) else 40
    class_names = OFFICIAL[classes].class_names
    splits = {}
    for split in ("train", "test"):
        names, labels = [], []
        for label, class_name in enumerate(class_names):
            if class_name in folders:
                listed = archive.list(f"{class_name}/{split}")[1]
                meshes = [name for name in listed if name.lower().endswith(".off")]
                names += [f"{class_name}/{split}/{name}" for name in meshes]
                labels += [label] * len(meshes)
        splits[split] = names, np.array(labels, np.int32)
    read = functools.partial(_read_mesh, archive)
    return Layout("meshes", archive.root, class_names, MESH_POINTS, _splits(splits, read))


def _resampled(archive: Archive, classes: int | None) -> Layout:
    folders, listed = archive.list("")
    if classes is None:
        classes = 40 if "modelnet40_train.txt" in listed else 10
    class_names = OFFICIAL[classes].class_names
    files_of = {name: set(archive.list(name)[1]) for name in class_names if name in folders}
    splits, listed_before = {}, set()
    for split in ("train", "test"):
        path = f"modelnet{classes}_{split}.txt"
        if path not in listed:
            raise InputError(f"{archive.path(path)} is missing: take it from the archive")
        names, labels = [], []
        for line in archive.read(path).decode("utf-8", "replace").split():
            class_name = line.rpartition("_")[0]
            if class_name not in class_names:
                raise InputError(
                    f"{archive.path(path)}: {line!r} is in no class of ModelNet{classes}: take the "
                    "list from the archive"
                )
            if line in listed_before:
                raise InputError(
                    f"{archive.path(path)}: {line!r} is listed twice, here or in both lists: take "
                    "the lists from the archive"
                )
            listed_before.add(line)
            if f"{line}.txt" in files_of.get(class_name, ()):
                names.append(f"{class_name}/{line}.txt")
                labels.append(class_names.index(class_name))
        splits[split] = names, np.array(labels, np.int32)
    first = next((name for names, _ in splits.values() for name in names), None)
    num_points = 0 if first is None else len(_read_points(archive, first))
    read = functools.partial(_read_resampled, archive, num_points)
    return Layout("resampled", archive.root, class_names, num_points, _splits(splits, read))


def _splits(found: dict, read: Callable[[str], np.ndarray]) -> dict[str, CloudSplit]:
    """Returns splits that read one file per cloud, from the (names, labels) of each split."""
    return {
        split: CloudSplit(names, labels, functools.partial(_read_all, read, names))
        for split, (names, labels) in found.items()
    }


def _read_all(
    read: Callable[[str], np.ndarray], names: list[str], workers: int
) -> Iterator[np.ndarray]:
    if workers < 2 or len(names) < _MIN_PARALLEL:
        yield from map(read, names)
        return
    # A forked process would inherit locks that TensorFlow's threads may hold.
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        yield from pool.map(read, names, chunksize=16)


def _read_mesh(archive: Archive, name: str) -> np.ndarray:
    """Samples points, float32 [P, 3], from a mesh; the same from a folder and from an archive."""
    mesh = files.read(archive.read(name), archive.path(name))
    points = files.to_cloud(
        mesh, fewest=MESH_POINTS, most=MESH_POINTS, name=archive.path(name), key=name
    )
    return points.astype(np.float32)


def _read_points(archive: Archive, name: str) -> np.ndarray:
    """Reads a .txt file, float64 [n, 3]."""
    points = files.read(archive.read(name), archive.path(name))
    assert isinstance(points, np.ndarray)  # the format has no meshes
    return points


def _read_resampled(archive: Archive, num_points: int, name: str) -> np.ndarray:
    """Reads all points of a file, float32 [P, 3]."""
    points = _read_points(archive, name)
    if len(points) != num_points:
        raise InputError(
            f"{archive.path(name)} has {len(points):,} points, and other files {num_points:,}: "
            "take it from the archive again"
        )
    return points.astype(np.float32)
