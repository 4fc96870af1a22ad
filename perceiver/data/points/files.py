"""Reads files that hold one point cloud or mesh each.

    .off  mesh, see `meshes.parse_off`
    .ply  mesh or cloud, text or binary
    .npy  array [n, 3 or more]; x, y and z are the first three columns
    .txt  one line per point: three or more numbers separated by commas or spaces; '#' for comments
    .pcd  cloud with fields x, y and z; text or binary, but not binary_compressed
    .h5   data set 'data', [n, 3 or more] or [1, n, 3 or more]

Nothing is unpickled or evaluated. This module imports without TensorFlow, so processes that only
read files start quickly.
"""

import hashlib
import io
import re
import struct
import tokenize
import zipfile

import h5py
import numpy as np
from trimesh.exchange.ply import load_ply

from perceiver.data.errors import reason
from perceiver.data.points.meshes import Mesh, parse_off, sample
from perceiver.errors import InputError

_MAX_POINTS = 100_000_000  # a header that declares more points is damaged
MAX_COORDINATE = 1e30  # float32 can hold the sum of many such coordinates
_MAX_COMPRESSION = 100  # unpacked bytes per byte of a file; coordinates reach about two
# Errors of the parsers of NumPy, h5py and trimesh for invalid files, even NameError.
UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
)


def read(data: bytes, name: str) -> Mesh | np.ndarray:
    """Parses the content of a file.

    Args:
      data: content of the file.
      name: path of the file. Its suffix determines the format; messages name it.

    Returns:
      A mesh, or a cloud float64 [n, 3].

    Raises:
      InputError: the suffix is not in SUFFIXES, the file is empty, damaged, pickled or of another
        format, or coordinates are not finite or beyond 1e30.
    """
    suffix = name[name.rfind(".") :].lower()
    if suffix not in _READERS:
        raise InputError(f"{name}: cannot be read: the endings known are {', '.join(SUFFIXES)}")
    if not data:
        raise InputError(f"{name}: the file is empty: replace or remove it")
    try:
        shape = _READERS[suffix](data)
    except UNREADABLE as error:
        raise InputError(
            f"{name}: cannot be read as {suffix} ({reason(error)}): replace or remove it"
        ) from error
    points = shape.vertices if isinstance(shape, Mesh) else shape
    if not len(points):
        raise InputError(f"{name}: has no points: replace or remove it")
    # NaN fails the comparison as well.
    broken = np.flatnonzero(~(np.abs(points) <= MAX_COORDINATE).all(axis=1))
    if len(broken):
        raise InputError(
            f"{name}: point {broken[0]} is not finite ({len(broken)} in all): repair or remove it"
        )
    return shape


def to_cloud(
    shape: Mesh | np.ndarray, *, fewest: int, most: int, name: str, key: str
) -> np.ndarray:
    """Returns points of a mesh or a cloud in random order, the same on every machine.

    A mesh is sampled, see `meshes.sample`; a mesh without faces counts as the cloud of its
    vertices. A cloud with more than `most` points is subsampled without replacement.

    Args:
      shape: mesh or cloud, from `read`.
      fewest: number of points that a cloud must have.
      most: number of points to sample from a mesh, and the maximum for a cloud.
      name: path of the file, for messages.
      key: seed of the choice, for example the path relative to the folder of the data set.

    Returns:
      Points, float64 [P, 3].

    Raises:
      InputError: a cloud has too few points, or a mesh has no area.
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    if isinstance(shape, Mesh) and len(shape.triangles):
        try:
            return sample(shape, most, rng)
        except ValueError as error:
            raise InputError(f"{name}: {error}: repair or remove it") from error
    points = shape.vertices if isinstance(shape, Mesh) else shape
    if len(points) < fewest:
        has = "has no faces to sample, and only" if isinstance(shape, Mesh) else "has"
        raise InputError(
            f"{name}: {has} {len(points):,} points, and {fewest:,} are needed: lower num_points "
            "or remove it"
        )
    return points[rng.choice(len(points), min(most, len(points)), replace=False)]


def _off(data: bytes) -> Mesh:
    return parse_off(data)


def _ply(data: bytes) -> Mesh | np.ndarray:
    _check_length_of_text(data)
    loaded = load_ply(io.BytesIO(data), fix_texture=False, skip_materials=True)
    vertices = _columns(np.asarray(loaded["vertices"]))
    faces = loaded.get("faces")
    if faces is None or not len(faces):
        return vertices
    polygons = np.asarray(faces, np.int64)
    if polygons.min() < 0 or polygons.max() >= len(vertices):
        raise ValueError(f"a face names vertex {polygons.max()}, and there are {len(vertices)}")
    fan = [polygons[:, [0, last - 1, last]] for last in range(2, polygons.shape[1])]
    return Mesh(vertices, np.concatenate(fan))


def _check_length_of_text(data: bytes) -> None:
    """Raises a ValueError for a truncated text .ply, which trimesh accepts."""
    header, _, body = data.partition(b"end_header")
    if re.search(rb"^format ascii", header, re.MULTILINE):
        expected = sum(int(n) for n in re.findall(rb"^element \S+ (\d+)", header, re.MULTILINE))
        lines = sum(1 for line in body.splitlines() if line.strip())
        if lines < expected:
            raise ValueError(f"it ends after {lines} of {expected} lines")


def _npy(data: bytes) -> np.ndarray:
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        raise ValueError("it is an archive of arrays")
    return _columns(loaded)


def _txt(data: bytes) -> np.ndarray:
    text = data.replace(b",", b" ")
    if not re.sub(rb"#[^\r\n]*", b"", text).strip():
        raise ValueError("it has no numbers")
    return _columns(np.loadtxt(io.BytesIO(text), ndmin=2))


def _pcd(data: bytes) -> np.ndarray:
    match = re.search(rb"^DATA[ \t]+(\w+)[ \t]*\r?\n", data, re.MULTILINE)
    if not match:
        raise ValueError("it has no line DATA")
    lines = data[: match.start()].decode("ascii").splitlines()
    header = {words[0]: words[1:] for line in lines if (words := line.split())}
    fields = header["FIELDS"]
    counts = [int(count) for count in header.get("COUNT", ["1"] * len(fields))]
    (num_points,) = (int(number) for number in header["POINTS"])
    missing = [axis for axis in "xyz" if fields.count(axis) != 1]
    if missing:
        raise ValueError(f"it has no single field {missing[0]}")
    if not 0 <= num_points <= _MAX_POINTS or min(counts) < 1:
        raise ValueError(f"its header declares {num_points} points")
    encoding, body = match.group(1), data[match.end() :]
    if encoding == b"ascii":
        starts = np.cumsum([0, *counts])
        columns = [int(starts[fields.index(axis)]) for axis in "xyz"]
        words = body.split()
        if len(words) != num_points * starts[-1]:
            raise ValueError(f"{len(words)} numbers are not {num_points} points")
        return np.array(words, np.float64).reshape(num_points, -1)[:, columns]
    if encoding != b"binary":
        raise ValueError(f"{encoding.decode()} is not supported: convert it to binary or ascii")
    sizes = zip(header["TYPE"], header["SIZE"], strict=True)
    kinds = [f"<{ {'F': 'f', 'I': 'i', 'U': 'u'}[kind] }{int(size)}" for kind, size in sizes]
    columns = enumerate(zip(fields, kinds, counts, strict=True))
    layout = np.dtype([(f"{n}:{field}", kind, (size,)) for n, (field, kind, size) in columns])
    if len(body) < num_points * layout.itemsize:
        raise ValueError(f"it ends before its {num_points} points do")
    table = np.frombuffer(body, layout, num_points)
    named = [table[f"{fields.index(axis)}:{axis}"] for axis in "xyz"]
    return _columns(np.concatenate(named, axis=1))


def _h5(data: bytes) -> np.ndarray:
    with h5py.File(io.BytesIO(data), "r") as file:
        points = h5_numbers(file, "data", len(data))
    if points.ndim == 3 and points.shape[0] > 1:
        raise ValueError(f"it holds {points.shape[0]} clouds; give one per file")
    return _columns(points[0] if points.ndim == 3 else points)


def h5_numbers(file: h5py.File, name: str, num_bytes: int) -> np.ndarray:
    """Reads a numeric data set of an untrusted HDF5 file.

    Args:
      file: open file.
      name: name of the data set.
      num_bytes: size of the file.

    Raises:
      ValueError: the data set is not numeric, declares a size far beyond that of the file, or is
        stored in other files, which could be any files of this machine.
      KeyError: the file has no data set of this name.
    """
    stored = file[name]
    numeric = isinstance(stored, h5py.Dataset) and stored.dtype.kind in "fiu"
    if not numeric or stored.shape is None:
        raise ValueError(f"{name!r} holds no numbers")
    # HDF5 aborts the process when it reads a virtual data set of a file in memory.
    if stored.is_virtual or stored.external:
        raise ValueError(f"{name!r} is stored in other files")
    if stored.nbytes > _MAX_COMPRESSION * num_bytes:
        raise ValueError(f"{name!r} declares the shape {stored.shape}")
    return stored[()]


def _columns(table: np.ndarray) -> np.ndarray:
    """Returns the columns x, y and z as float64."""
    if table.ndim != 2 or table.shape[1] < 3 or table.dtype.kind not in "fiu":
        raise ValueError(f"{table.dtype} {table.shape} is not a table with columns x, y and z")
    return table[:, :3].astype(np.float64)


_READERS = {".off": _off, ".ply": _ply, ".npy": _npy, ".txt": _txt, ".pcd": _pcd, ".h5": _h5}
SUFFIXES = tuple(_READERS)
