"""One's own sound or video files in a folder of classes, with the recipe of Sec. 4.2.

Compressed files cannot be entered at any window, so on first use they are prepared as AudioSet is:
decoded, brought to 25 frames a second and 48 kHz, and written as records. What was prepared is
found again as long as the files are the same.
"""

import contextlib
import csv
import fcntl
import hashlib
import math
import os
import pathlib
import re
import sys
from collections.abc import Collection, Iterator

from perceiver.data import class_folders
from perceiver.data.clips import schema
from perceiver.data.clips.preparation import prepare, runners
from perceiver.data.clips.preparation.decoding import JPEG_QUALITY
from perceiver.data.clips.prepared import open_prepared
from perceiver.data.clips.recipe import ClipRecipe
from perceiver.data.dataset import Dataset, Features, takes_recipe
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

PREPARE = "python -m experiments.prepare_data clips --dir=FOLDER --out=DIR"

MAX_SECONDS = 10.0  # of a clip, as AudioSet's
_FILES_PER_SHARD = 16  # a shard is the work of one thread

Splits = tuple[class_folders.Files, class_folders.Files]


@takes_recipe(ClipRecipe)
def load(
    *,
    dir: str,
    prepared: str,
    val_fraction: float,
    split_seed: int,
    max_seconds: float = MAX_SECONDS,
    max_failed: float = 0.0,
    recipe: ClipRecipe,
) -> Dataset:
    """Prepares the clips of a folder, unless that was done before, and opens them.

    What `modalities` do not need, frames or sound, is not prepared. Processes that start together
    wait for the first of them to do it. Progress and clips that are left out are told on stderr.

    Args:
      dir: folder with train/<class>/* and val/<class>/*, or <class>/*, of sound or video files.
      prepared: folder for what is prepared: each folder of clips gets a folder in it, whose name
        ends in a fingerprint of the files and their split. Once the files have changed, the old
        one can be deleted.
      val_fraction: share of the files held out where `dir` has no split; not used otherwise.
      split_seed: decides which are held out.
      max_seconds: the longest that a clip may be; of longer ones the beginning is taken.
      max_failed: largest share of the files of a split that may be left out because they cannot be
        decoded, or lack sound or frames where these are needed.
      recipe: its attributes are options as well.

    Returns:
      The inputs that `modalities` names, see `ClipRecipe.reader`, and 'label', int32 [].

    Raises:
      InputError: options that cannot be, a folder that is not as above, or more files that cannot
        be used than `max_failed`; one of them is named.
    """
    if not prepared:
        raise InputError("prepared is '': give a folder to keep prepared clips in")
    if not 0 <= max_failed < 1:
        raise InputError(f"max_failed is {max_failed}: give a share from 0 to less than 1")
    found = class_folders.find(dir, prepare.CLIP_FILES, val_fraction, split_seed)
    want = wanted(recipe.modalities)
    out = _folder(dir, prepared, found, (want, max_seconds))
    with _alone(out):
        if not (out / "dataset_info.json").exists():
            count = sum(len(paths) for files in found for paths in files.values())
            print(f"preparing the {count} clips of {dir}, once, in {out}", file=sys.stderr)
        reports = prepare.prepare_folder(
            dir,
            str(out),
            val_fraction=val_fraction,
            split_seed=split_seed,
            want=want,
            seconds=max_seconds,
            num_shards=_num_shards(found),
            run=runners.in_threads,
        )
    for report in reports:
        _check_failures(report, dir, max_failed)

    def label(indices: tf.Tensor) -> Features:
        return {"label": tf.cast(tf.reshape(indices, []), tf.int32)}

    data = open_prepared(str(out), PREPARE)
    return Dataset(
        train=data.source("train", recipe, label),
        eval=data.source("val", recipe, label),
        class_names=data.class_names,
    )


def wanted(modalities: Collection[str]) -> str:
    """What of the clips is to be decoded for these inputs, as `decoding.decode` takes it."""
    if "video" not in modalities:
        return "sound"
    return "video" if set(modalities) == {"video"} else "both"


def _folder(dir: str, prepared: str, found: Splits, options: tuple) -> pathlib.Path:
    """Where the clips are prepared: a name of its own for each state of the files."""
    root = pathlib.Path(dir).resolve()
    listing = hashlib.sha256()
    listing.update(repr((options, schema.SHORT_SIDE, JPEG_QUALITY)).encode())
    for split in found:
        for name, paths in split.items():
            for path in paths:
                stat = os.stat(path)
                entry = (name, os.path.relpath(path, dir), stat.st_size, stat.st_mtime_ns)
                listing.update(repr(entry).encode(errors="surrogateescape"))
        listing.update(b"/")
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", root.name)
    return pathlib.Path(prepared) / f"{plain}-{listing.hexdigest()[:12]}"


def _num_shards(found: Splits) -> int:
    """Enough for all cores, and none without a clip."""
    train, val = (sum(map(len, files.values())) for files in found)
    return max(1, min(val, math.ceil(train / _FILES_PER_SHARD)))


@contextlib.contextmanager
def _alone(out: pathlib.Path) -> Iterator[None]:
    """Waits until no other process prepares in this folder; a process that ends gives it free."""
    lock = out.with_name(f"{out.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        opened = lock.open("w")
    except OSError as error:
        raise InputError(
            f"prepared {str(out.parent)!r} cannot be written to ({error.strerror}): give another "
            "folder"
        ) from error
    with opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def _check_failures(report: prepare.Report, dir: str, max_failed: float) -> None:
    failed = report.listed - report.decoded
    if failed > max_failed * report.listed:
        with open(report.failures, encoding="utf-8", errors="surrogateescape") as file:
            first = next(csv.DictReader(file))
        raise InputError(
            f"{os.path.join(dir, first['file'])}: {first['reason']} ({failed} of the "
            f"{report.listed} clips of {report.split} cannot be used; {report.failures} names "
            "them): replace or remove them, or raise config.data.max_failed"
        )
    if failed:
        print(
            f"{report.split}: {failed} of {report.listed} clips are left out; they are named in "
            f"{report.failures}",
            file=sys.stderr,
        )
