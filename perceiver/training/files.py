"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """A context whose OSErrors name the file, as those of writing to an open one do not.

    Raises:
      OSError: as inside, with the path.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def replace_file(path: Path, data: bytes) -> None:
    """Writes `data` to a temporary file beside `path`, then renames it to `path`.

    A process killed at any moment leaves the old file or the new one, and perhaps the temporary
    file, which the next call overwrites. One process at a time may write a path.

    Raises:
      OSError: the folder is missing, full or read-only; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with disk_errors(path), open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a crash of the machine could leave the new name on no data
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
