"""Writes files atomically."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Adds the path to an OSError of the context: errors of writing to an open file lack it.

    Raises:
      OSError: the error of the context, with the path.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def replace_file(path: Path, data: bytes) -> None:
    """Writes `data` to a temporary file in the folder of `path`, then renames it to `path`.

    A process killed at any moment leaves the old or the new file, and perhaps the temporary file,
    which the next call overwrites. Only one process at a time may write a path.

    Raises:
      OSError: the folder is missing, full or read-only; `path` is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with disk_errors(path), open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # otherwise a crash of the machine could leave an empty file
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
