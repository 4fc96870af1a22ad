"""Random access to TFRecord files inside a tf.data graph.

A TFRecord file is a row of records, each 8 bytes of length, their checksum, the data, and the
data's checksum; it holds no index. Where the records begin is found once by walking the lengths
and kept beside the files, so that any example can be read by its number, in any order, without a
shuffle buffer.
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

# A cold disk or a bucket answers many requests at once.
_THREADS = 32

_LENGTH = struct.Struct("<QI")  # length of the data and checksum of the length
_OVERHEAD = _LENGTH.size + 4  # and the checksum of the data

_CRC32C = 0x82F63B78  # the Castagnoli polynomial, bits reversed
_MASK = 0xA282EAD8

# What a damaged archive of arrays raises; RuntimeError where a flag asks for a password.
_DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, RuntimeError)

_ADVICE = "fetch or prepare it again"


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of several files, numbered through in the order of the files.

    Attributes:
      num_records: how many there are, perhaps 0.
      files: the files.
      counts: how many records each file has, int64 [files].
      read: index, int64 [] in [0, num_records) -> the record's data, string []. It runs in a
        tf.data graph. Damaged data fail with tf.errors.DataLossError.
    """

    num_records: int
    files: tuple[str, ...]
    counts: np.ndarray
    read: Callable[[tf.Tensor], tf.Tensor]

    def name(self, index: int) -> str:
        """The file of a record and the record's number in it, from 0."""
        ends = np.cumsum(self.counts)
        file = int(np.searchsorted(ends, index, side="right"))
        return f"{self.files[file]}: record {index - (ends[file] - self.counts[file])}"


def open_records(paths: Sequence[str | os.PathLike]) -> Records:
    """Finds all records of the files.

    The places found are kept in `.offsets-<hash of the file names>.npz` in the folder of the first
    file and used again as long as size and time of change of every file are the same; where that
    folder cannot be written to, they are found afresh each time.

    Args:
      paths: uncompressed TFRecord files, on this machine or on any other that TensorFlow reads
        from, such as gs://.

    Raises:
      InputError: a file is missing, cut short, or not made of records; the file and the record are
        named. The data of the records are not checked before they are read.
    """
    files = tuple(os.fspath(path) for path in paths)
    if not files:
        raise InputError("no TFRecord files were given: give at least one")
    with ThreadPoolExecutor(_THREADS) as threads:
        stats = np.array(list(threads.map(_size_and_time, files)), np.int64)  # [files, 2]
        cache = _cache_path(files)
        found = _read_cache(cache, stats)
        if found is None:
            sizes = stats[:, 0].tolist()
            offsets = list(threads.map(_walk, files, sizes))
            found = np.array([len(o) for o in offsets], np.int64), np.concatenate(offsets)
            _write_cache(cache, stats, *found)
    counts, offsets = found
    return Records(len(offsets), files, counts, _reader(files, counts, offsets))


def _reader(
    files: tuple[str, ...], counts: np.ndarray, offsets: np.ndarray
) -> Callable[[tf.Tensor], tf.Tensor]:
    all_files, ends = tf.constant(files), tf.constant(np.cumsum(counts))
    all_offsets = tf.constant(offsets)

    def read(index: tf.Tensor) -> tf.Tensor:
        index = tf.reshape(tf.cast(index, tf.int64), [1])
        file = tf.gather(all_files, tf.searchsorted(ends, index, side="right"))
        # Only the raw operation takes a place to begin at; it checks the checksum of the data.
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=file,
            compression_type="",
            buffer_size=tf.constant(0, tf.int64),
            byte_offsets=tf.gather(all_offsets, index),
        )
        kind = {"output_types": [tf.string], "output_shapes": [[]]}
        first = tf.raw_ops.TakeDataset(
            input_dataset=records, count=tf.constant(1, tf.int64), **kind
        )
        return tf.raw_ops.DatasetToSingleElement(dataset=first, **kind)[0]

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
    """Where each record of the file begins, int64 [records]; every length is checked."""
    offsets, headers = [], []
    position = 0
    try:
        # Without a buffer where that can be: of a record of 100 KB only its length is wanted.
        with tf.io.gfile.GFile(file, "rb") if "://" in file else open(file, "rb", 0) as opened:
            while position + _LENGTH.size <= size:
                opened.seek(position)
                header = opened.read(_LENGTH.size)
                if len(header) < _LENGTH.size:
                    break
                offsets.append(position)
                headers.append(header)
                position += _OVERHEAD + _LENGTH.unpack(header)[0]
    except (OSError, tf.errors.OpError) as error:
        raise InputError(f"{file} cannot be read ({_reason(error)}): {_ADVICE}") from error
    wrong = _wrong_headers(headers)
    if len(wrong):
        raise InputError(
            f"{file}: record {wrong[0]} has a damaged length, or the file is no uncompressed "
            f"TFRecord file: {_ADVICE}"
        )
    if position != size:
        # Either the data go on beyond the end, or some bytes are left that begin another record.
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
    """Numbers of the headers, length and checksum, whose checksum is wrong."""
    of_bytes = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, _LENGTH.size)
    crc = np.full(len(headers), 0xFFFFFFFF, np.uint32)
    for byte in of_bytes[:, :8].T:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc = ~crc
    masked = ((crc >> 15) | (crc << 17)) + np.uint32(_MASK)
    return np.flatnonzero(of_bytes[:, 8:].copy().view("<u4")[:, 0] != masked)


def _cache_path(files: tuple[str, ...]) -> str:
    # Base names only, so that a folder that is moved takes what was found with it.
    names = "\n".join(os.path.basename(file) for file in files)
    key = hashlib.sha256(names.encode()).hexdigest()[:16]
    return os.path.join(os.path.dirname(files[0]), f".offsets-{key}.npz")


def _read_cache(cache: str, stats: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Counts and offsets kept for just these files; None if there are none, or damaged ones."""
    try:
        with tf.io.gfile.GFile(cache, "rb") as file:
            packed = io.BytesIO(file.read())
        with np.load(packed, allow_pickle=False) as kept:
            kept_stats, counts, offsets = kept["stats"], kept["counts"], kept["offsets"]
    except (tf.errors.OpError, *_DAMAGED):
        return None  # they are found again, and the file is written anew
    if not np.array_equal(kept_stats, stats) or counts.shape != (len(stats),):
        return None
    if counts.sum() != len(offsets) or counts.dtype != np.int64 or offsets.dtype != np.int64:
        return None
    return counts, offsets


def _write_cache(cache: str, stats: np.ndarray, counts: np.ndarray, offsets: np.ndarray) -> None:
    packed = io.BytesIO()
    np.savez(packed, stats=stats, counts=counts, offsets=offsets)
    # Processes that start together may all write; each renames a whole file of its own.
    temporary = f"{cache}.{uuid.uuid4().hex}.tmp"
    try:
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(packed.getvalue())
        tf.io.gfile.rename(temporary, cache, overwrite=True)
    except tf.errors.OpError:
        # A folder that is read-only or full: the data are there and can be read all the same.
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.remove(temporary)


def _reason(error: Exception) -> str:
    message = error.strerror if isinstance(error, OSError) else error.message
    return str(message).splitlines()[0]
