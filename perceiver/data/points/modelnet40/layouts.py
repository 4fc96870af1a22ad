"""ModelNet40 and ModelNet10 in the forms that people have, told apart by what is there.

    meshes     Princeton's ModelNet40.zip, ModelNet10.zip or what they unpack to:
               <class>/{train,test}/*.off
    hdf5       Stanford's modelnet40_ply_hdf5_2048, see `hdf5`
    resampled  modelnet40_normal_resampled: <class>/<class>_0001.txt, 10,000 lines x,y,z,nx,ny,nz,
               with lists modelnet40_{train,test}.txt, and maybe modelnet10_{train,test}.txt

Each may be a folder, a .zip, or a folder that holds either. TensorFlow is not needed, so that
processes that sample meshes start quickly.
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
from perceiver.data.points.modelnet40.archives import Archive, Folder, Tree
from perceiver.data.points.modelnet40.classes import MODELNET40, OFFICIAL
from perceiver.errors import InputError

MESH_POINTS = 2048  # points sampled from a mesh, as in Stanford's files
PREPARE = "python -m experiments.prepare_data modelnet --source=DIR_OR_ZIP --out=DIR"
LAYOUT = (
    f"{hdf5.LAYOUT}; or modelnet40_normal_resampled; or Princeton's ModelNet40.zip or its folders "
    f"<class>/{{train,test}}/*.off; or what `{PREPARE}` made"
)
_STANFORD = {"train": 9840, "test": 2468}  # three meshes less than Princeton has
_FEW = 64  # files that are not worth starting processes for


@dataclasses.dataclass(frozen=True)
class Split:
    """The training or the test part.

    Attributes:
      names: of the clouds, unique.
      labels: int32 [n].
      clouds: (workers) -> the clouds in that order, float32 [P, 3] each, read or sampled by so
        many processes.
    """

    names: list[str]
    labels: np.ndarray
    clouds: Callable[[int], Iterator[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Form:
    """A data set that was found.

    Attributes:
      kind: 'meshes', 'hdf5', 'resampled', or 'prepared' for one that was made of these.
      root: path of its folder, or of its archive.
      class_names: by label.
      num_points: P.
      splits: 'train' and 'test'.
    """

    kind: str
    root: str
    class_names: tuple[str, ...]
    num_points: int
    splits: dict[str, Split]


@unreadable_as_input_error()
def find(
    source: str, *, classes: int | None = None, partial: bool = False, num_points: int = 1
) -> Form:
    """What `source` holds. HDF5 files are read at once, others only when their clouds are.

    Args:
      source: a folder or a .zip file.
      classes: 40 or 10, where the source could be read as both. None takes 10 where no other
        class or list is there, else 40.
      partial: whether fewer clouds than the official lists have will do.
      num_points: the fewest that the clouds may have.

    Raises:
      InputError: none of the forms, damaged files, classes of another data set, or other counts
        than the official ones.
    """
    if classes is not None and classes not in OFFICIAL:
        raise InputError(f"classes is {classes}: give 40 or 10")
    path = pathlib.Path(source)
    zipped = path.suffix.lower() == ".zip" and path.is_file()
    tree, kind = _locate(Archive(path) if zipped else Folder(existing_folder(source, LAYOUT)))
    if kind == "hdf5":
        form = _hdf5(tree, num_points)
        if classes not in (None, len(form.class_names)):
            raise InputError(
                f"{form.root!r} has {len(form.class_names)} classes, and classes is {classes}"
            )
    else:
        form = {"meshes": _meshes, "resampled": _resampled}[kind](tree, classes)
        if form.num_points < num_points:
            raise InputError(
                f"{form.root!r}: clouds have {form.num_points} points, fewer than num_points "
                f"{num_points}: lower num_points"
            )
    check_counts(form, partial)
    return form


def _locate(tree: Tree) -> tuple[Tree, str]:
    """The folder or archive that has the data set itself, and its form."""
    kind = _kind(tree)
    if kind:
        return tree, kind
    folders, names = tree.list("")
    trees = [tree.within(name) for name in folders]
    if isinstance(tree, Folder):
        for name in names:
            if re.fullmatch(r"modelnet.*\.zip", name, re.IGNORECASE):
                archive = Archive(pathlib.Path(tree.name(name)))
                trees += [archive, *(archive.within(below) for below in archive.list("")[0])]
    found = [(candidate, kind) for candidate in trees if (kind := _kind(candidate))]
    if not found:
        raise InputError(
            f"{tree.root!r} holds no ModelNet: expected {LAYOUT}; archives are at "
            "https://modelnet.cs.princeton.edu and https://shapenet.cs.stanford.edu/media, and "
            "--source=download:ModelNet40.zip fetches one"
        )
    if len(found) > 1:
        listed = ", ".join(repr(candidate.root) for candidate, _ in found)
        raise InputError(f"{tree.root!r} holds ModelNet more than once: give one of {listed}")
    return found[0]


def _kind(tree: Tree) -> str | None:
    folders, names = tree.list("")
    if any(re.fullmatch(r"modelnet(10|40)_(train|test)\.txt", name) for name in names):
        return "resampled"
    if any(name in hdf5.LISTS for name in names):
        return "hdf5"
    for folder in folders:
        if folder in MODELNET40 and {"train", "test"}.intersection(tree.list(folder)[0]):
            return "meshes"
    return None


def check_counts(form: Form, partial: bool) -> None:
    """Refuses a form with other counts than the official ones, and one with an empty split.

    Raises:
      InputError: the counts, and what is official.
    """
    found = {split: len(part.labels) for split, part in form.splits.items()}
    official = OFFICIAL.get(len(form.class_names))
    known = official is not None and form.class_names == official.class_names
    stanford = form.kind in ("hdf5", "prepared") and found == _STANFORD
    if known and not partial and not stanford and found != official.counts:
        raise InputError(
            f"{form.root!r} has {found['train']:,} training and {found['test']:,} test clouds, and "
            f"{official.name} has {official.counts['train']:,} and {official.counts['test']:,}: "
            "complete it, or set partial to go on with these"
        )
    empty = [split for split, count in found.items() if not count]
    if empty:
        raise InputError(f"{form.root!r} has no {empty[0]} clouds: both splits must have some")


def _hdf5(tree: Tree, num_points: int) -> Form:
    class_names = hdf5.class_names(tree)
    splits, sizes = {}, {}
    for split in ("train", "test"):
        clouds, labels = hdf5.read_split(tree, split, len(class_names), num_points)
        names = [f"{split} cloud {index}" for index in range(len(labels))]
        splits[split] = in_memory(names, labels, clouds)
        sizes[split] = clouds.shape[1]
    if sizes["train"] != sizes["test"]:
        raise InputError(
            f"{tree.root}: training clouds have {sizes['train']} points and test clouds "
            f"{sizes['test']}: make them equal"
        )
    return Form("hdf5", tree.root, class_names, sizes["train"], splits)


def in_memory(names: list[str], labels: np.ndarray, clouds: np.ndarray) -> Split:
    """A split whose clouds, float32 [n, P, 3], have been read."""
    return Split(names, labels, lambda workers: iter(clouds))


def _meshes(tree: Tree, classes: int | None) -> Form:
    folders = tree.list("")[0]
    unknown = [folder for folder in folders if folder not in MODELNET40]
    if unknown:
        raise InputError(
            f"{tree.root!r}: folder {unknown[0]!r} is no class of ModelNet40: remove it, or read "
            "classes of your own with the data set point_folder"
        )
    if classes is None:
        classes = 10 if set(folders) <= set(OFFICIAL[10].class_names) else 40
    class_names = OFFICIAL[classes].class_names
    splits = {}
    for split in ("train", "test"):
        names, labels = [], []
        for label, class_name in enumerate(class_names):
            if class_name in folders:
                listed = tree.list(f"{class_name}/{split}")[1]
                meshes = [name for name in listed if name.lower().endswith(".off")]
                names += [f"{class_name}/{split}/{name}" for name in meshes]
                labels += [label] * len(meshes)
        splits[split] = names, np.array(labels, np.int32)
    read = functools.partial(_read_mesh, tree)
    return Form("meshes", tree.root, class_names, MESH_POINTS, _splits(splits, read))


def _resampled(tree: Tree, classes: int | None) -> Form:
    folders, listed = tree.list("")
    if classes is None:
        classes = 40 if "modelnet40_train.txt" in listed else 10
    class_names = OFFICIAL[classes].class_names
    there = {name: set(tree.list(name)[1]) for name in class_names if name in folders}
    splits, seen = {}, set()
    for split in ("train", "test"):
        path = f"modelnet{classes}_{split}.txt"
        if path not in listed:
            raise InputError(f"{tree.name(path)} is missing: take it from the archive")
        names, labels = [], []
        for line in tree.read(path).decode("utf-8", "replace").split():
            class_name = line.rpartition("_")[0]
            if class_name not in class_names:
                raise InputError(f"{tree.name(path)}: {line!r} is of no class of ModelNet{classes}")
            if line in seen:
                raise InputError(
                    f"{tree.name(path)}: {line!r} is listed twice, here or for training as well: "
                    "take the lists from the archive"
                )
            seen.add(line)
            if f"{line}.txt" in there.get(class_name, ()):
                names.append(f"{class_name}/{line}.txt")
                labels.append(class_names.index(class_name))
        splits[split] = names, np.array(labels, np.int32)
    first = next((name for names, _ in splits.values() for name in names), None)
    num_points = 0 if first is None else len(files.read(tree.read(first), tree.name(first)))
    read = functools.partial(_read_resampled, tree, num_points)
    return Form("resampled", tree.root, class_names, num_points, _splits(splits, read))


def _splits(found: dict, read: Callable[[str], np.ndarray]) -> dict[str, Split]:
    """Splits of files: name -> (names, labels)."""
    return {
        split: Split(names, labels, functools.partial(_read_all, read, names))
        for split, (names, labels) in found.items()
    }


def _read_all(
    read: Callable[[str], np.ndarray], names: list[str], workers: int
) -> Iterator[np.ndarray]:
    if workers < 2 or len(names) < _FEW:
        yield from map(read, names)
        return
    # A fork would copy the locks of TensorFlow's threads as they happen to be.
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        yield from pool.map(read, names, chunksize=16)


def _read_mesh(tree: Tree, name: str) -> np.ndarray:
    """Points float32 [P, 3] of a mesh; from a folder the same as from the archive."""
    mesh = files.read(tree.read(name), tree.name(name))
    points = files.to_cloud(
        mesh, fewest=MESH_POINTS, most=MESH_POINTS, name=tree.name(name), key=name
    )
    return points.astype(np.float32)


def _read_resampled(tree: Tree, num_points: int, name: str) -> np.ndarray:
    """All points of a file, float32 [P, 3]."""
    points = files.read(tree.read(name), tree.name(name))
    if len(points) != num_points:
        raise InputError(
            f"{tree.name(name)} has {len(points):,} points, and other files {num_points:,}: take "
            "it from the archive again"
        )
    return points.astype(np.float32)
