"""Writes and verifies manifests: SHA-256 sums of the files of a checkpoint, which detect damage.

`manifest.json` in the folder of a checkpoint lists the size and sum of every other file below the
folder. It also has a sum of this list, so that a change anywhere is detected, even in the manifest.
"""

import hashlib
import json
import os
from pathlib import Path

from perceiver.training.files import replace_file

NAME = "manifest.json"
_CHUNK = 1 << 20  # bytes; hashing larger blocks lets other Python threads run


def write_manifest(folder: Path) -> None:
    """Writes the manifest of a folder that is complete.

    On return every file is on the disk, not only in the cache of the operating system.

    Raises:
      OSError: a file cannot be read, or the manifest cannot be written.
    """
    files = {
        name: {"bytes": path.stat().st_size, "sha256": _sha256(path, sync=True)}
        for name, path in _list_files(folder).items()
    }
    replace_file(folder / NAME, _serialize(files))


def find_damage(folder: Path) -> str | None:
    """Compares a folder with its manifest and describes the first difference; None if intact.

    Reads every byte, unless a missing file or a wrong size is found first.

    Returns:
      For example "state/d/5f is cut short, 10 of 905 bytes", or None.
    """
    try:
        expected = _read_manifest(folder)
        present = _list_files(folder)
        for name in expected:
            if name not in present:
                return f"{name} is missing"
        for name in present:
            if name not in expected:
                return f"{name} does not belong there"
        for name, entry in expected.items():
            size = present[name].stat().st_size
            if size < entry["bytes"]:
                return f"{name} is cut short, {size} of {entry['bytes']} bytes"
            if size > entry["bytes"]:
                return f"{name} is too long, {size} instead of {entry['bytes']} bytes"
        for name, entry in expected.items():
            if _sha256(present[name]) != entry["sha256"]:
                return f"{name} is changed"
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(folder)} is missing"
    except OSError as error:
        return f"{error.filename or 'a file'} cannot be read: {error.strerror}"
    except ValueError:
        return f"{NAME} is changed"
    return None


def read_verified(folder: Path, name: str) -> bytes:
    """Returns the contents of one file after a check against the manifest.

    Raises:
      ValueError: the contents differ, or the file or the manifest is missing; the message names the
        file.
      OSError: the file or the manifest cannot be read.
    """
    try:
        expected = _read_manifest(folder)[name]["sha256"]
        contents = (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename} is missing") from error
    except (ValueError, KeyError) as error:
        raise ValueError(f"{folder / NAME} is changed") from error
    if hashlib.sha256(contents).hexdigest() != expected:
        raise ValueError(f"{folder / name} is changed")
    return contents


def _list_files(folder: Path) -> dict[str, Path]:
    """Returns all files below the folder except the manifest, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path for name, path in names.items() if name != NAME}


def _sha256(path: Path, *, sync: bool = False) -> str:
    """Returns the SHA-256 of a file in hexadecimal; with `sync` forces the file to the disk."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if sync:
            os.fsync(file.fileno())
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _serialize(files: dict[str, dict]) -> bytes:
    sum_of_list = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    contents = {"sha256 of files": sum_of_list, "files": files}
    return (json.dumps(contents, indent=1, sort_keys=True) + "\n").encode()


def _read_manifest(folder: Path) -> dict[str, dict]:
    """Returns the sizes and sums of the files in the manifest, by relative path.

    Raises:
      FileNotFoundError: there is no manifest.
      ValueError: the manifest differs from the bytes that `write_manifest` writes.
    """
    written = (folder / NAME).read_bytes()
    contents = json.loads(written)
    if not isinstance(contents, dict) or not isinstance(contents.get("files"), dict):
        raise ValueError("not a manifest")
    if _serialize(contents["files"]) != written:
        raise ValueError("wrong sum")
    return contents["files"]
