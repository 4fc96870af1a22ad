"""Downloads archives of ModelNet from their publishers and checks their SHA-256.

The checksum of Stanford's archive is the one that TensorFlow Graphics registered for TFDS; those of
Princeton's are pinned by several point cloud libraries. The data are for academic research.
"""

import contextlib
import dataclasses
import hashlib
import http.client
import os
import pathlib
import urllib.request

from tqdm import tqdm

from perceiver.data.errors import reason
from perceiver.errors import InputError
from perceiver.names import unknown

_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds without a response


@dataclasses.dataclass(frozen=True)
class PublishedArchive:
    """An archive on the server of its publisher.

    Attributes:
      url: address of the archive.
      sha256: SHA-256 of the archive, in hexadecimal.
    """

    url: str
    sha256: str


ARCHIVES = {
    "ModelNet40.zip": PublishedArchive(
        "https://modelnet.cs.princeton.edu/ModelNet40.zip",
        "42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e536ac",
    ),
    "ModelNet10.zip": PublishedArchive(
        "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
        "9d8679435fc07d1d26f13009878db164a7aa8ea5e7ea3c8880e42794b7307d51",
    ),
    "modelnet40_ply_hdf5_2048.zip": PublishedArchive(
        "https://shapenet.cs.stanford.edu/media/modelnet40_ply_hdf5_2048.zip",
        "07670e237db72ece0f723b9abb571534c9ad655a6456b389646587dc72bb8bae",
    ),
}


def fetch(name: str, folder: str) -> pathlib.Path:
    """Downloads an archive, unless an earlier call has downloaded it.

    The file gets its name only when it is complete and its checksum is right.

    Args:
      name: a key of ARCHIVES.
      folder: folder for the archive, created if it is missing.

    Returns:
      The path of the archive.

    Raises:
      InputError: unknown name, failed download, or wrong checksum.
    """
    if name not in ARCHIVES:
        raise InputError(unknown(name, ARCHIVES, what="archive"))
    archive, path = ARCHIVES[name], pathlib.Path(folder) / name
    if path.is_file():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        _check(found, archive, str(path))
        return path
    part = path.with_name(f".{name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check(_download(archive.url, part, name), archive, archive.url)
        part.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{archive.url}: cannot be fetched to {str(path)!r} ({reason(error)}): get "
            f"{name} in another way, and give that file"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return path


def _download(url: str, part: pathlib.Path, name: str) -> str:
    """Downloads a URL to a file and returns its SHA-256."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, part.open("wb") as file:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        with tqdm(desc=name, total=total, unit="B", unit_scale=True) as progress:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                progress.update(len(chunk))
        if total is not None and file.tell() != total:
            raise http.client.IncompleteRead(b"", total - file.tell())
    return digest.hexdigest()


def _check(found: str, archive: PublishedArchive, where: str) -> None:
    if found != archive.sha256:
        raise InputError(
            f"{where}: refused: its SHA-256 is {found}, and should be {archive.sha256}: it is cut "
            "short or altered; download it again"
        )
