"""The state of a tf.data iterator as bytes that can be kept inside a checkpoint.

TensorFlow saves an iterator as a few files; here they travel in an uncompressed zip together with
a header in JSON. Nothing is pickled and nothing is unpacked by the names in the archive.
"""

import io
import json
import pathlib
import tempfile
import zipfile
from collections.abc import Iterator

from perceiver.data.errors import DataError
from perceiver.data.tensorflow_cpu import tf

_HEADER = "header.json"
_FILES = ("iterator.index", "iterator.data-00000-of-00001")
_ADVICE = "restore a state that this configuration saved, or start afresh"


def pack(iterator: Iterator, header: dict[str, int]) -> bytes:
    """Saves a tf.data iterator and the header that says what it belongs to."""
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w") as archive:
        tf.train.Checkpoint(iterator=iterator).write(str(pathlib.Path(folder, "iterator")))
        archive.writestr(zipfile.ZipInfo(_HEADER), json.dumps(header))
        for name in _FILES:
            archive.writestr(zipfile.ZipInfo(name), pathlib.Path(folder, name).read_bytes())
    return packed.getvalue()


def restore(state: bytes, iterator: Iterator, header: dict[str, int]) -> dict[str, int]:
    """Puts `iterator` where `pack` found its own.

    Args:
      state: what `pack` returned.
      iterator: a new iterator of a dataset built as the saved one's was.
      header: values that the saved header must agree with.

    Returns:
      The saved header.

    Raises:
      DataError: the bytes are damaged or belong to another pipeline.
    """
    saved, files = _read(state)
    different = [
        f"{key} {saved.get(key)!r} there, {value!r} here"
        for key, value in header.items()
        if saved.get(key) != value
    ]
    if different:
        raise DataError(f"iterator state of another pipeline: {'; '.join(different)}: {_ADVICE}")
    with tempfile.TemporaryDirectory() as folder:
        for name, contents in files.items():
            pathlib.Path(folder, name).write_bytes(contents)
        checkpoint = tf.train.Checkpoint(iterator=iterator)
        try:
            checkpoint.read(str(pathlib.Path(folder, "iterator"))).assert_consumed()
        except (tf.errors.OpError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"iterator state does not fit: {reason}: {_ADVICE}") from error
    return saved


def _read(state: bytes) -> tuple[dict[str, int], dict[str, bytes]]:
    """Header and files of a packed state; the archive's checksums are verified."""
    try:
        with zipfile.ZipFile(io.BytesIO(state)) as archive:
            for name in (_HEADER, *_FILES):
                if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
                    raise DataError(f"iterator state: {name} is compressed: {_ADVICE}")
            header = json.loads(archive.read(_HEADER))
            files = {name: archive.read(name) for name in _FILES}
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, RuntimeError) as error:
        # RuntimeError: flags that ask for a password or a newer zip.
        what = f"iterator state of {len(state)} bytes"
        raise DataError(f"{what} is damaged ({error}): {_ADVICE}") from error
    if not isinstance(header, dict):
        raise DataError(f"iterator state: its header is {header!r}, not a record: {_ADVICE}")
    return header, files
