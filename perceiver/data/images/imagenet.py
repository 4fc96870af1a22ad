"""Prepares ImageNet (ILSVRC 2012, Sec. 4.1) as a TFDS data set from its two archives.

The archives are available at https://image-net.org/download-images after registration. TFDS
'imagenet2012' reads them unchanged and converts the few CMYK and PNG pictures. It only warns about
a missing archive, and mislabels a validation archive with too few pictures, so this module checks
the archives before and the counts after the preparation.
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
class TarArchive:
    """One of the two archives.

    Attributes:
      file: file name.
      split: TFDS split that is made of the archive.
      num_bytes: size of the file.
      num_examples: number of pictures.
    """

    file: str
    split: str
    num_bytes: int
    num_examples: int


# The sizes are those of TFDS's table of checksums.
ARCHIVES = (
    TarArchive("ILSVRC2012_img_train.tar", "train", 147_897_477_120, 1_281_167),
    TarArchive("ILSVRC2012_img_val.tar", "validation", 6_744_924_160, 50_000),
)

# Errors of TFDS for an archive that is damaged or has other content, AssertionError for one without
# pictures, and RuntimeError and OpError for a disk that cannot be written to.
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

# TFDS sorts the examples on disk before it writes them, so there are temporarily two copies.
_COPIES = 2


def prepare(archives: str, out: str, expected: Sequence[TarArchive] = ARCHIVES) -> str:
    """Prepares the TFDS data set from the two archives, without a download.

    If the data set exists, only its pictures are counted. An interrupted preparation starts again
    and leaves a folder `imagenet2012/incomplete.*` in `out`, which may be deleted.

    Args:
      archives: folder with the two downloaded archives, which are not changed.
      out: folder for TFDS data sets, to which `imagenet2012/` is added. It takes 155 GB, and twice
        as much during the preparation.
      expected: sizes and numbers of pictures of the archives.

    Returns:
      A line with the place of the data set and its numbers of pictures.

    Raises:
      InputError: an archive is missing, damaged or of another size, the disk is too small, or the
        number of pictures is wrong.
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
            # TFDS adds lines before the message of the cause.
            cause = ": ".join([type(error).__name__, *lines[-1:]])
            raise InputError(
                f"{archives}: preparing {TFDS_NAME} in {out} failed ({cause}): if an archive is "
                "damaged or repacked, download it again"
            ) from error
    check_counts(builder, expected)
    counts = " and ".join(f"{a.num_examples:,} {a.split}" for a in expected)
    return f"{builder.data_path}: {counts} pictures"


def check_counts(
    builder: tfds.core.DatasetBuilder, expected: Sequence[TarArchive] | None = None
) -> None:
    """Checks the numbers of pictures of a prepared 'imagenet2012'.

    Args:
      builder: builder of the data set.
      expected: archives with the expected numbers, ARCHIVES by default.

    Raises:
      InputError: a split is missing or has another number of pictures.
    """
    splits = builder.info.splits
    for archive in ARCHIVES if expected is None else expected:
        found = splits[archive.split].num_examples if archive.split in splits else 0
        if found != archive.num_examples:
            raise InputError(
                f"{builder.data_path}: {archive.split} has {found:,} pictures and should have "
                f"{archive.num_examples:,}: remove that folder, and prepare it again from a "
                f"complete {archive.file}"
            )


def _check_archives(folder: str, expected: Sequence[TarArchive]) -> None:
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
        return  # buckets have no size limit
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out!r} cannot be written ({error.strerror}): give another folder"
        ) from error
    free = shutil.disk_usage(out).free
    if free < needed:
        raise InputError(
            f"{out} has {free / 1e9:,.0f} GB free and {needed / 1e9:,.0f} GB are needed while "
            "ImageNet is prepared: make room, or give another folder"
        )
