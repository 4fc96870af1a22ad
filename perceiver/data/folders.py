"""The check that the folder of a data set is there."""

import pathlib

from perceiver.data.errors import DataError


def existing(dir: str, layout: str) -> pathlib.Path:
    """The folder `dir` as a path; a DataError that shows the expected layout if it is not one."""
    folder = pathlib.Path(dir)
    if not dir or not folder.is_dir():
        what = "is a file" if dir and folder.exists() else "does not exist"
        raise DataError(f"data folder {str(dir)!r} {what}: give a folder that holds {layout}")
    return folder
