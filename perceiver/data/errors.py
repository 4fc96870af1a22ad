"""Turns errors of libraries and of the file system into one-line messages.

This module imports without TensorFlow.
"""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

from perceiver.errors import InputError

_MAX_LENGTH = 400  # characters of a library's message


def reason(error: Exception) -> str:
    """Returns the message of a library's error in one short line, or its type if it is empty."""
    return (" ".join(str(error).split()) or type(error).__name__)[:_MAX_LENGTH]


def tensorflow_reason(message: str) -> str:
    """Returns the first line of a TensorFlow error message, without names of graph operations."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", message, flags=re.DOTALL)
    return message.strip().splitlines()[0].strip()


def existing_folder(dir: str, layout: str) -> pathlib.Path:
    """Returns the path of a folder that must exist.

    Args:
      dir: path of the folder.
      layout: expected content of the folder, for the message.

    Raises:
      InputError: `dir` is not a folder, or this user may not read it.
    """
    folder = pathlib.Path(dir)
    with unreadable_as_input_error():
        if not dir or not folder.is_dir():
            state = "is a file" if dir and folder.exists() else "does not exist"
            raise InputError(f"data folder {str(dir)!r} {state}: give a folder that holds {layout}")
    return folder


@contextlib.contextmanager
def unreadable_as_input_error() -> Iterator[None]:
    """A context manager or decorator that turns an OSError about a path into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}): give this user the right to "
            "read it, or give another folder"
        ) from error


def check_listable(dir: str) -> None:
    """Checks that this user may list a folder; otherwise TensorFlow reports it as missing.

    Args:
      dir: path. A missing path, a file and a path on another machine pass the check.

    Raises:
      InputError: the folder exists and cannot be listed.
    """
    if "://" in dir or "\0" in dir:
        return
    with unreadable_as_input_error(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.scandir(dir).close()
