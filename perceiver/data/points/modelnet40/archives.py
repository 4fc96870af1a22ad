"""Folders and zip archives read in one way, an archive without being unpacked.

An archive comes from elsewhere, so nothing it says is believed: its members are read into memory,
never written, and what no honest archive of a data set holds is refused by name.
"""

import collections
import copy
import functools
import lzma
import os
import pathlib
import stat
import struct
import zipfile
import zlib

from perceiver.data.errors import reason
from perceiver.errors import InputError

# Princeton's archive holds 24,000 members and 10 GB, Stanford's largest member has 0.1 GB.
_MOST_MEMBERS = 200_000
_LARGEST_MEMBER = 1 << 29
_LARGEST_TOTAL = 1 << 36

# What zipfile and the decompressors raise at a damaged archive. RuntimeError where a method of
# compression is not known or a password is asked for.
_DAMAGED = (
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class Folder:
    """A folder of the user's."""

    def __init__(self, path: pathlib.Path):
        self.root = str(path)
        self._path = path

    def list(self, below: str) -> tuple[list[str], list[str]]:
        """Names of the folders and of the files in the folder `below`, sorted; hidden ones not.

        Args:
          below: path below the root with '/' between names, '' for the root. There is nothing in
            a folder that is not there.
        """
        folders, files = [], []
        if (self._path / below).is_dir():
            with os.scandir(self._path / below) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        (folders if entry.is_dir() else files).append(entry.name)
        return sorted(folders), sorted(files)

    def read(self, name: str) -> bytes:
        """What a file holds; an InputError that names it where it cannot be read."""
        try:
            return (self._path / name).read_bytes()
        except OSError as error:
            raise InputError(f"{self.name(name)}: cannot be read ({error.strerror})") from error

    def name(self, name: str) -> str:
        """What messages call a file."""
        return str(self._path / name)

    def within(self, below: str) -> "Folder":
        """The tree of a folder in this one."""
        return Folder(self._path / below)


class Archive:
    """A .zip file.

    Raises:
      InputError: a damaged archive, or one with a member whose name leads outside, that is a link
        or encrypted, or that is too large.
    """

    def __init__(self, path: pathlib.Path, below: str = ""):
        self._path, self._below = path, below
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGED as error:
            raise InputError(
                f"{path}: cannot be read ({reason(error)}): download it again"
            ) from error
        members = self._zip.infolist()
        total = sum(member.file_size for member in members)
        if len(members) > _MOST_MEMBERS or total > _LARGEST_TOTAL:
            raise InputError(
                f"{path}: refused: {len(members):,} members of {total:,} bytes are more than any "
                "data set read here has"
            )
        for member in members:
            why = _suspicious(member)
            if why:
                raise InputError(f"{path}: refused: its member {member.filename!r} {why}")

    @property
    def root(self) -> str:
        """What messages call the tree."""
        return f"{self._path}/{self._below}".rstrip("/")

    @functools.cached_property
    def _children(self) -> dict[str, tuple[set[str], set[str]]]:
        """Folder -> names of its folders and of its files."""
        found = collections.defaultdict(lambda: (set(), set()))
        for member in self._zip.infolist():
            parts = member.filename.rstrip("/").split("/")
            if any(part.startswith((".", "__MACOSX")) for part in parts):
                continue
            for depth in range(len(parts) - 1):
                found["/".join(parts[:depth])][0].add(parts[depth])
            found["/".join(parts[:-1])][0 if member.is_dir() else 1].add(parts[-1])
        return found

    def list(self, below: str) -> tuple[list[str], list[str]]:
        """As `Folder.list`."""
        folders, files = self._children.get(self._inside(below), ((), ()))
        return sorted(folders), sorted(files)

    def read(self, name: str) -> bytes:
        """As `Folder.read`."""
        try:
            # No more than the size that was checked: zipfile stops there, and then compares CRCs.
            return self._zip.read(self._inside(name))
        except _DAMAGED as error:
            why = "it is not there" if isinstance(error, KeyError) else reason(error)
            raise InputError(f"{self.name(name)}: cannot be read ({why})") from error

    def name(self, name: str) -> str:
        """As `Folder.name`."""
        return f"{self.root}/{name}"

    def within(self, below: str) -> "Archive":
        """As `Folder.within`; the archive is not read again."""
        tree = copy.copy(self)
        tree._below = self._inside(below)
        return tree

    def _inside(self, name: str) -> str:
        return "/".join(part for part in (self._below, name) if part)

    def __reduce__(self):
        """Another process opens the archive by itself, once."""
        return _reopened, (self._path, self._below)


@functools.cache
def _reopened(path: pathlib.Path, below: str) -> Archive:
    return Archive(path, below)


Tree = Folder | Archive


def _suspicious(member: zipfile.ZipInfo) -> str | None:
    """Why a member is refused; None if it is not."""
    name = member.filename
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
        return "has a name that leads outside"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.file_size > _LARGEST_MEMBER:
        return f"has {member.file_size:,} bytes when unpacked"
    return None
