"""ImageNet (ILSVRC 2012, Sec. 4.1): its two archives, and their way into a TFDS data set.

The archives are given out at https://image-net.org/download-images to those who register.
TFDS 'imagenet2012' reads them as they are; it repairs the pictures known to be CMYK or PNG. Where
one archive is missing it only warns and goes on, and it labels a validation archive with too few
pictures wrongly, so what is there is checked before and after.
"""

import dataclasses
import os
import shutil
import tarfile
from collections.abc import Sequence

import tensorflow_datasets as tfds

from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

TFDS_NAME = "imagenet2012"


@dataclasses.dataclass(frozen=True)
class Archive:
    """One of the two archives.

    Attributes:
      file: its name.
      split: the TFDS split made of it.
      num_bytes: its size.
      num_examples: how many pictures it holds.
    """

    file: str
    split: str
    num_bytes: int
    num_examples: int


# The sizes are those of TFDS's own table of checksums.
ARCHIVES = (
    Archive("ILSVRC2012_img_train.tar", "train", 147_897_477_120, 1_281_167),
    Archive("ILSVRC2012_img_val.tar", "validation", 6_744_924_160, 50_000),
)

# What TFDS raises on an archive that is damaged, or that holds something else; AssertionError where
# it holds no picture at all. RuntimeError and OpError where the disk cannot be written to.
_FAILURES = (
    tarfile.TarError,
    EOFError,
    KeyError,
    ValueError,
    AssertionError,
    OSError,
    RuntimeError,
    tf.errors.OpError,
)

# TFDS sorts the examples on disk before it writes them, so that at times they are there twice.
_COPIES = 2


def prepare(archives: str, out: str, expected: Sequence[Archive] = ARCHIVES) -> str:
    """Makes the TFDS data set of the two archives; nothing is downloaded.

    What is prepared already is only counted. One that is stopped begins anew, and leaves a folder
    `imagenet2012/incomplete.*` in `out` that may be deleted.

    Args:
      archives: folder with the two archives, as downloaded; they are not changed.
      out: the `dir` of the data set, to which `imagenet2012/` is added; 155 GB, and as much again
        while it is made.
      expected: the archives and what they hold.

    Returns:
      One line: where the data set is and how many pictures it has.

    Raises:
      InputError: an archive is missing, of another size or damaged, the disk is too small, or the
        number of pictures is not as it should be.
    """
    builder = tfds.builder(TFDS_NAME, data_dir=out)
    if not tf.io.gfile.exists(str(builder.data_path)):
        _check_archives(archives, expected)
        _check_space(out, _COPIES * sum(archive.num_bytes for archive in expected))
        config = tfds.download.DownloadConfig(manual_dir=archives)
        try:
            builder.download_and_prepare(download_config=config)
        except _FAILURES as error:
            lines = str(error).strip().splitlines()
            said = ": ".join([type(error).__name__, *lines[-1:]])  # TFDS puts its own lines first
            raise InputError(
                f"{archives}: preparing {TFDS_NAME} in {out} failed ({said}): if an archive is "
                "damaged or was packed anew, download it again"
            ) from error
    check_counts(builder, expected)
    found = " and ".join(f"{a.num_examples:,} {a.split}" for a in expected)
    return f"{builder.data_path}: {found} pictures"


def check_counts(
    builder: tfds.core.DatasetBuilder, expected: Sequence[Archive] | None = None
) -> None:
    """Refuses an 'imagenet2012' whose splits are not whole.

    Args:
      builder: of the prepared data set.
      expected: what it should hold; ARCHIVES where it is not given.

    Raises:
      InputError: a split is missing or has another number of pictures.
    """
    splits = builder.info.splits
    for archive in ARCHIVES if expected is None else expected:
        found = splits[archive.split].num_examples if archive.split in splits else 0
        if found != archive.num_examples:
            raise InputError(
                f"{builder.data_path}: {archive.split} has {found:,} pictures and should have "
                f"{archive.num_examples:,}: remove that folder, and prepare it again from a whole "
                f"{archive.file}"
            )


def _check_archives(folder: str, expected: Sequence[Archive]) -> None:
    for archive in expected:
        path = os.path.join(folder, archive.file)
        size = f"{archive.num_bytes:,} bytes"
        if not os.path.isfile(path):
            both = " and ".join(a.file for a in expected)
            raise InputError(
                f"{path} is missing ({size}): register at https://image-net.org/download-images, "
                f"and put {both} there, not unpacked"
            )
        if os.path.getsize(path) != archive.num_bytes:
            raise InputError(
                f"{path} has {os.path.getsize(path):,} bytes and should have {size}: download it "
                "again from https://image-net.org/download-images, and do not unpack or repack it"
            )


def _check_space(out: str, needed: int) -> None:
    if "://" in out:
        return  # a bucket does not fill up
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out!r} cannot be written ({error.strerror})") from error
    free = shutil.disk_usage(out).free
    if free < needed:
        raise InputError(
            f"{out} has {free / 1e9:,.0f} GB free and {needed / 1e9:,.0f} GB are needed while "
            "ImageNet is prepared: make room, or give another folder"
        )
