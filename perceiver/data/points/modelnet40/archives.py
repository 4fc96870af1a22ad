"""Reads folders and zip archives through one interface, without unpacking an archive.

An archive is not trusted: its members are read into memory and never written to disk, and members
that no archive of a data set contains are refused.
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

# Princeton's archive has 24,000 members and 10 GB, the largest member of Stanford's has 0.1 GB.
_MAX_MEMBERS = 200_000
_MAX_MEMBER_BYTES = 1 << 29
_MAX_TOTAL_BYTES = 1 << 36

# Errors of zipfile and the decompressors for a damaged archive, and RuntimeError for an unknown
# compression method or a missing password.
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


class FolderArchive:
    """An unpacked archive: a folder.

    Attributes:
      root: path of the folder, for messages.
    """

    def __init__(self, path: pathlib.Path):
        self.root = str(path)
        self._path = path

    def list(self, folder: str) -> tuple[list[str], list[str]]:
        """Lists a folder.

        Args:
          folder: path relative to the root, with '/' between names; '' for the root.

        Returns:
          The sorted names of its folders and of its files, without hidden ones. Both are empty for
          a missing folder.
        """
        folders: list[str] = []
        files: list[str] = []
        if (self._path / folder).is_dir():
            with os.scandir(self._path / folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        (folders if entry.is_dir() else files).append(entry.name)
        return sorted(folders), sorted(files)

    def read(self, name: str) -> bytes:
        """Returns the content of a file; raises an InputError if the file is unreadable."""
        try:
            return (self._path / name).read_bytes()
        except OSError as error:
            raise InputError(
                f"{self.path(name)}: cannot be read ({error.strerror}): replace it"
            ) from error

    def path(self, name: str) -> str:
        """Returns the path of a file, for messages."""
        return str(self._path / name)

    def subfolder(self, folder: str) -> "FolderArchive":
        """Returns a folder of this archive as an archive."""
        return FolderArchive(self._path / folder)


class ZipArchive:
    """A .zip file, or a folder in it, with the interface of `FolderArchive`.

    Raises:
      InputError: the archive is damaged or too large, or a member leads outside, is a link, is
        encrypted or is too large.
    """

    def __init__(self, path: pathlib.Path, folder: str = ""):
        self._path, self._folder = path, folder
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGED as error:
            raise InputError(
                f"{path}: cannot be read ({reason(error)}): download it again"
            ) from error
        members = self._zip.infolist()
        total = sum(member.file_size for member in members)
        if len(members) > _MAX_MEMBERS or total > _MAX_TOTAL_BYTES:
            raise InputError(
                f"{path}: refused: {len(members):,} members of {total:,} bytes are more than "
                "ModelNet has: download it again"
            )
        for member in members:
            fault = _fault(member)
            if fault:
                raise InputError(
                    f"{path}: refused: its member {member.filename!r} {fault}: download it again"
                )

    @property
    def root(self) -> str:
        """Path of the archive and of the folder in it, for messages."""
        return f"{self._path}/{self._folder}".rstrip("/")

    @functools.cached_property
    def _children(self) -> dict[str, tuple[set[str], set[str]]]:
        """The names of the folders and of the files in each folder."""
        children: dict[str, tuple[set[str], set[str]]]
        children = collections.defaultdict(lambda: (set(), set()))
        for member in self._zip.infolist():
            parts = member.filename.rstrip("/").split("/")
            if any(part.startswith((".", "__MACOSX")) for part in parts):
                continue
            for depth in range(len(parts) - 1):
                children["/".join(parts[:depth])][0].add(parts[depth])
            children["/".join(parts[:-1])][0 if member.is_dir() else 1].add(parts[-1])
        return children

    def list(self, folder: str) -> tuple[list[str], list[str]]:
        """Lists a folder; see `FolderArchive.list`."""
        folders, files = self._children.get(self._member(folder), ((), ()))
        return sorted(folders), sorted(files)

    def read(self, name: str) -> bytes:
        """Returns the content of a file; see `FolderArchive.read`."""
        try:
            # zipfile reads at most the size that __init__ has checked, and then compares CRCs.
            return self._zip.read(self._member(name))
        except _DAMAGED as error:
            cause = "it does not exist" if isinstance(error, KeyError) else reason(error)
            raise InputError(
                f"{self.path(name)}: cannot be read ({cause}): download it again"
            ) from error

    def path(self, name: str) -> str:
        """Returns the path of a file, for messages."""
        return f"{self.root}/{name}"

    def subfolder(self, folder: str) -> "ZipArchive":
        """Returns a folder of this archive as an archive, without opening the file again."""
        archive = copy.copy(self)
        archive._folder = self._member(folder)
        return archive

    def _member(self, name: str) -> str:
        return "/".join(part for part in (self._folder, name) if part)

    def __reduce__(self):
        """Pickles the path, so that each worker process opens the archive once."""
        return _reopen, (self._path, self._folder)


@functools.cache
def _reopen(path: pathlib.Path, folder: str) -> ZipArchive:
    return ZipArchive(path, folder)


Archive = FolderArchive | ZipArchive


def _fault(member: zipfile.ZipInfo) -> str | None:
    """Returns the reason to refuse a member, or None."""
    name = member.filename
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
        return "has a name that leads outside"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.file_size > _MAX_MEMBER_BYTES:
        return f"has {member.file_size:,} bytes when unpacked"
    return None
