"""What a folder of data must be: there, and open to this user."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from perceiver.errors import InputError


def existing(dir: str, layout: str) -> pathlib.Path:
    """The folder `dir` as a path; an InputError that shows the expected layout if it is not one."""
    folder = pathlib.Path(dir)
    with readable():
        if not dir or not folder.is_dir():
            what = "is a file" if dir and folder.exists() else "does not exist"
            raise InputError(f"data folder {str(dir)!r} {what}: give a folder that holds {layout}")
    return folder


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """A context, or a decorator, in which what can't be listed or looked at is an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}): give this user the right to "
            "read it, or another folder"
        ) from error


def check_listable(dir: str) -> None:
    """Refuses a folder that this user may not list, which TensorFlow takes for one not there.

    Args:
      dir: a path; one that is no folder, or is elsewhere than on this machine, is passed over.

    Raises:
      InputError: it is there and can't be listed.
    """
    if "://" in dir or "\0" in dir:
        return
    with readable(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.scandir(dir).close()
