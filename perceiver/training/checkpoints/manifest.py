"""The SHA-256 sums of a checkpoint's files, by which a damaged checkpoint is told from a whole one.

`manifest.json` in the checkpoint's folder lists every other file below it with its size and sum,
and has a sum of its own list, so that a change anywhere shows, in the manifest too.
"""

import hashlib
import json
import os
from pathlib import Path

from perceiver.training.files import replace_file

NAME = "manifest.json"
_CHUNK = 1 << 20  # bytes; hashing anything longer lets other Python threads run


def write_manifest(folder: Path) -> None:
    """Writes the manifest of a folder that nobody changes any more.

    Every file is on the disk, not only in the cache of the operating system, when this returns.

    Raises:
      OSError: a file cannot be read, or the manifest not written.
    """
    files = {
        name: {"bytes": path.stat().st_size, "sha256": _sum(path, sync=True)}
        for name, path in _files(folder).items()
    }
    replace_file(folder / NAME, _serialize(files))


def damage(folder: Path) -> str | None:
    """Says what is wrong with a folder that has a manifest, None where it is as it was written.

    Reads every byte, unless a missing file or a wrong size is found first.

    Returns:
      For example "state/d/5f is cut short, 10 of 905 bytes"; the first fault found.
    """
    try:
        expected = _read(folder)
        there = _files(folder)
        for name in expected:
            if name not in there:
                return f"{name} is missing"
        for name in there:
            if name not in expected:
                return f"{name} does not belong there"
        for name, entry in expected.items():
            size = there[name].stat().st_size
            if size < entry["bytes"]:
                return f"{name} is cut short, {size} of {entry['bytes']} bytes"
            if size > entry["bytes"]:
                return f"{name} is too long, {size} instead of {entry['bytes']} bytes"
        for name, entry in expected.items():
            if _sum(there[name]) != entry["sha256"]:
                return f"{name} is changed"
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(folder)} is missing"
    except OSError as error:
        return f"{error.filename or 'a file'} cannot be read: {error.strerror}"
    except ValueError:
        return f"{NAME} is changed"
    return None


def read_listed(folder: Path, name: str) -> bytes:
    """Returns the contents of one file, having checked that they are those of the manifest.

    Raises:
      ValueError: they are not, or one of the two is missing; the message names the file.
      OSError: one of the two cannot be read.
    """
    try:
        expected = _read(folder)[name]["sha256"]
        contents = (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename} is missing") from error
    except (ValueError, KeyError) as error:
        raise ValueError(f"{folder / NAME} is changed") from error
    if hashlib.sha256(contents).hexdigest() != expected:
        raise ValueError(f"{folder / name} is changed")
    return contents


def _files(folder: Path) -> dict[str, Path]:
    """All files below the folder but the manifest, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path for name, path in names.items() if name != NAME}


def _sum(path: Path, *, sync: bool = False) -> str:
    """The file's SHA-256 in hexadecimal digits; with `sync` the file is forced to the disk."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if sync:
            os.fsync(file.fileno())
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _serialize(files: dict[str, dict]) -> bytes:
    own = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    contents = {"sha256 of files": own, "files": files}
    return (json.dumps(contents, indent=1, sort_keys=True) + "\n").encode()


def _read(folder: Path) -> dict[str, dict]:
    """The manifest's files.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is not, to the byte, what `write_manifest` writes.
    """
    written = (folder / NAME).read_bytes()
    contents = json.loads(written)
    if not isinstance(contents, dict) or not isinstance(contents.get("files"), dict):
        raise ValueError("not a manifest")
    if _serialize(contents["files"]) != written:
        raise ValueError("wrong sum")
    return contents["files"]
