"""Random access to TFRecord files in a tf.data graph.

A TFRecord file is a sequence of records without an index. A record has the length of its data in 8
bytes, the checksum of the length, the data, and their checksum. This module finds the offset of
each record once by following the lengths, and caches the offsets in the folder of the files. Then
any record can be read by its number, in any order, without a shuffle buffer.
"""

import dataclasses
import hashlib
import io
import os
import struct
import uuid
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# A slow disk or a bucket serves many requests at once.
_THREADS = 32

_HEADER = struct.Struct("<QI")  # length of the data and checksum of the length
_OVERHEAD = _HEADER.size + 4  # header and checksum of the data

_CRC32C = 0x82F63B78  # the Castagnoli polynomial, bits reversed
_MASK = 0xA282EAD8

# Errors for a damaged .npz file; RuntimeError for one that requires a password.
_DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, RuntimeError)

_ADVICE = "fetch or prepare it again"


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of several files, numbered in the order of the files.

    Attributes:
      num_records: number of records, may be 0.
      files: paths of the files.
      counts: number of records in each file, int64 [files].
      read: function of the index of a record, int64 [] in [0, num_records) -> its data, string [].
        It runs in a tf.data graph. Damaged data raise a tf.errors.DataLossError.
    """

    num_records: int
    files: tuple[str, ...]
    counts: np.ndarray
    read: Callable[[tf.Tensor], tf.Tensor]

    def name(self, index: int) -> str:
        """Returns the file of a record and its number in the file, from 0, for messages."""
        ends = np.cumsum(self.counts)
        file = int(np.searchsorted(ends, index, side="right"))
        return f"{self.files[file]}: record {index - (ends[file] - self.counts[file])}"


def open_records(paths: Sequence[str | os.PathLike]) -> Records:
    """Finds all records of the files.

    The offsets are cached in `.offsets-<hash of the file names>.npz` in the folder of the first
    file, and the cache is valid while the size and modification time of every file are the same. If
    the folder cannot be written to, the offsets are found anew each time.

    Args:
      paths: paths of uncompressed TFRecord files, in any file system that TensorFlow reads, for
        example gs://.

    Raises:
      InputError: a file is missing, truncated, or not a TFRecord file. The message names the file
        and the record. The data of records are checked only when they are read.
    """
    files = tuple(os.fspath(path) for path in paths)
    if not files:
        raise InputError("no TFRecord files were given: give at least one")
    with ThreadPoolExecutor(_THREADS) as threads:
        stats = np.array(list(threads.map(_size_and_time, files)), np.int64)  # [files, 2]
        cache = _cache_path(files)
        cached = _read_cache(cache, stats)
        if cached is None:
            sizes = stats[:, 0].tolist()
            by_file = list(threads.map(_walk, files, sizes))
            counts = np.array([len(offsets) for offsets in by_file], np.int64)
            offsets = np.concatenate(by_file)
            _write_cache(cache, stats, counts, offsets)
        else:
            counts, offsets = cached
    return Records(len(offsets), files, counts, _reader(files, counts, offsets))


def _reader(
    files: tuple[str, ...], counts: np.ndarray, offsets: np.ndarray
) -> Callable[[tf.Tensor], tf.Tensor]:
    all_files, ends = tf.constant(files), tf.constant(np.cumsum(counts))
    all_offsets = tf.constant(offsets)

    def read(index: tf.Tensor) -> tf.Tensor:
        index = tf.reshape(tf.cast(index, tf.int64), [1])
        file = tf.gather(all_files, tf.searchsorted(ends, index, side="right"))
        # Only the raw operation takes byte offsets. It verifies the checksum of the data.
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=file,
            compression_type="",
            buffer_size=tf.constant(0, tf.int64),
            byte_offsets=tf.gather(all_offsets, index),
        )
        spec = {"output_types": [tf.string], "output_shapes": [[]]}
        first = tf.raw_ops.TakeDataset(
            input_dataset=records, count=tf.constant(1, tf.int64), **spec
        )
        return tf.raw_ops.DatasetToSingleElement(dataset=first, **spec)[0]

    return read


def _size_and_time(file: str) -> tuple[int, int]:
    try:
        stat = tf.io.gfile.stat(file)
    except tf.errors.OpError as error:
        raise InputError(f"{file} cannot be read ({_reason(error)}): {_ADVICE}") from error
    if stat.is_directory:
        raise InputError(f"{file} is a folder: give a TFRecord file")
    return stat.length, stat.mtime_nsec


def _walk(file: str, size: int) -> np.ndarray:
    """Returns the offset of each record, int64 [records], and verifies all checksums of lengths."""
    offsets, headers = [], []
    position = 0
    try:
        # Unbuffered if possible, so that only the length of a record is read, not its data.
        with tf.io.gfile.GFile(file, "rb") if "://" in file else open(file, "rb", 0) as opened:
            while position + _HEADER.size <= size:
                opened.seek(position)
                header = opened.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    break
                offsets.append(position)
                headers.append(header)
                position += _OVERHEAD + _HEADER.unpack(header)[0]
    except (OSError, tf.errors.OpError) as error:
        raise InputError(f"{file} cannot be read ({_reason(error)}): {_ADVICE}") from error
    wrong = _wrong_headers(headers)
    if len(wrong):
        raise InputError(
            f"{file}: record {wrong[0]} has a damaged length, or the file is no uncompressed "
            f"TFRecord file: {_ADVICE}"
        )
    if position != size:
        # Either the last record ends beyond the file, or the file ends in an incomplete header.
        last = len(offsets) - 1 if position > size else len(offsets)
        raise InputError(f"{file}: record {last} is cut short at {size} bytes: {_ADVICE}")
    return np.array(offsets, np.int64)


def _crc32c_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_CRC32C), table >> 1)
    return table


_TABLE = _crc32c_table()


def _wrong_headers(headers: list[bytes]) -> np.ndarray:
    """Returns the indices of the headers whose checksum is wrong."""
    header_bytes = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, _HEADER.size)
    crc = np.full(len(headers), 0xFFFFFFFF, np.uint32)
    for byte in header_bytes[:, :8].T:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    masked = ((crc >> 15) | (crc << 17)) + np.uint32(_MASK)
    return np.flatnonzero(header_bytes[:, 8:].copy().view("<u4")[:, 0] != masked)


def _cache_path(files: tuple[str, ...]) -> str:
    # Base names only, so that the cache stays valid when the folder is moved.
    names = "\n".join(os.path.basename(file) for file in files)
    key = hashlib.sha256(names.encode()).hexdigest()[:16]
    return os.path.join(os.path.dirname(files[0]), f".offsets-{key}.npz")


def _read_cache(cache: str, stats: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the cached counts and offsets, or None if there is no valid cache for these files."""
    try:
        with tf.io.gfile.GFile(cache, "rb") as file:
            packed = io.BytesIO(file.read())
        with np.load(packed, allow_pickle=False) as arrays:
            cached_stats, counts, offsets = arrays["stats"], arrays["counts"], arrays["offsets"]
    except (tf.errors.OpError, *_DAMAGED):
        return None  # the caller finds the offsets again and rewrites the cache
    if not np.array_equal(cached_stats, stats) or counts.shape != (len(stats),):
        return None
    if counts.sum() != len(offsets) or counts.dtype != np.int64 or offsets.dtype != np.int64:
        return None
    return counts, offsets


def _write_cache(cache: str, stats: np.ndarray, counts: np.ndarray, offsets: np.ndarray) -> None:
    packed = io.BytesIO()
    np.savez(packed, stats=stats, counts=counts, offsets=offsets)
    # Several processes may write the cache at once; each renames a complete file.
    temporary = f"{cache}.{uuid.uuid4().hex}.tmp"
    try:
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(packed.getvalue())
        tf.io.gfile.rename(temporary, cache, overwrite=True)
    except tf.errors.OpError:
        # The folder is read-only or full, but its files can still be read.
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.remove(temporary)


def _reason(error: OSError | tf.errors.OpError) -> str:
    message = error.strerror if isinstance(error, OSError) else error.message
    return str(message).splitlines()[0]
