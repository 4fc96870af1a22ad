"""Loads a folder of classes of sound or video files, with the recipe of Sec. 4.2.

Decoding of a compressed file cannot begin at any window. On first use the files are therefore
prepared like AudioSet: decoded, converted to 25 frames per second and 48 kHz, and written as
records. The prepared records are reused as long as the files do not change.
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
from perceiver.data.clips.preparation.decoding import JPEG_QUALITY
from perceiver.data.clips.preparation.prepare import CLIP_FILES, SplitReport, prepare_folder
from perceiver.data.clips.preparation.runners import run_in_threads
from perceiver.data.clips.prepared import open_prepared
from perceiver.data.clips.recipe import ClipRecipe
from perceiver.data.dataset import Dataset, Features, takes_recipe
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

PREPARE_COMMAND = "python -m experiments.prepare_data clips --dir=FOLDER --out=DIR"

MAX_SECONDS = 10.0  # longest duration of a clip, as in AudioSet
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

    Only the streams that `modalities` need, frames or sound, are prepared. Processes that start
    together wait until the first of them has prepared the clips. Progress and the number of clips
    left out are printed to stderr.

    Args:
      dir: folder with train/<class>/* and val/<class>/*, or <class>/*, of sound or video files.
      prepared: folder for the prepared clips. Each folder of clips gets a subfolder, whose name
        ends in a fingerprint of the files and their split. After the files have changed, the old
        subfolder can be deleted.
      val_fraction: share of the files to hold out if `dir` has no folders train and val.
      split_seed: seed that decides which files are held out.
      max_seconds: longest duration of a clip; only the beginning of a longer file is used.
      max_failed: largest share of the files of a split that may be left out because they cannot be
        decoded or lack a needed stream.
      recipe: options of `ClipRecipe`, each of which is an option of this function.

    Returns:
      The splits, whose examples have the inputs in `modalities`, see `ClipRecipe.reader`, and
      'label', int32 [].

    Raises:
      InputError: an option is invalid, the folder does not have this layout, or a larger share of
        the files than `max_failed` fails; the message names one of them.
    """
    if not prepared:
        raise InputError("prepared is '': give a folder to keep prepared clips in")
    if not 0 <= max_failed < 1:
        raise InputError(f"max_failed is {max_failed}: give a share from 0 to less than 1")
    splits = class_folders.find(dir, CLIP_FILES, val_fraction, split_seed)
    need = needed_streams(recipe.modalities)
    out = _prepared_folder(dir, prepared, splits, (need, max_seconds))
    with _locked(out):
        if not (out / "dataset_info.json").exists():
            count = sum(len(paths) for files in splits for paths in files.values())
            print(f"preparing the {count} clips of {dir}, once, in {out}", file=sys.stderr)
        reports = prepare_folder(
            dir,
            str(out),
            val_fraction=val_fraction,
            split_seed=split_seed,
            need=need,
            seconds=max_seconds,
            num_shards=_num_shards(splits),
            runner=run_in_threads,
        )
    for report in reports:
        _check_failures(report, dir, max_failed)

    def label(indices: tf.Tensor) -> Features:
        return {"label": tf.cast(tf.reshape(indices, []), tf.int32)}

    data = open_prepared(str(out), PREPARE_COMMAND)
    return Dataset(
        train=data.source("train", recipe, label),
        eval=data.source("val", recipe, label),
        class_names=data.class_names,
    )


def needed_streams(modalities: Collection[str]) -> str:
    """Returns the argument `need` of `decoding.decode` for these inputs."""
    if "video" not in modalities:
        return "sound"
    return "video" if set(modalities) == {"video"} else "both"


def _prepared_folder(dir: str, prepared: str, splits: Splits, options: tuple) -> pathlib.Path:
    """Returns the folder of the prepared clips, whose name is a fingerprint of the files."""
    root = pathlib.Path(dir).resolve()
    fingerprint = hashlib.sha256()
    fingerprint.update(repr((options, schema.SHORT_SIDE, JPEG_QUALITY)).encode())
    for split in splits:
        for name, paths in split.items():
            for path in paths:
                stat = os.stat(path)
                entry = (name, os.path.relpath(path, dir), stat.st_size, stat.st_mtime_ns)
                fingerprint.update(repr(entry).encode(errors="surrogateescape"))
        fingerprint.update(b"/")
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", root.name)
    return pathlib.Path(prepared) / f"{plain}-{fingerprint.hexdigest()[:12]}"


def _num_shards(splits: Splits) -> int:
    """Returns a number of shards that keeps all cores busy and leaves no shard empty."""
    train, val = (sum(map(len, files.values())) for files in splits)
    return max(1, min(val, math.ceil(train / _FILES_PER_SHARD)))


@contextlib.contextmanager
def _locked(out: pathlib.Path) -> Iterator[None]:
    """Holds the lock of a folder, which is released when the process ends."""
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


def _check_failures(report: SplitReport, dir: str, max_failed: float) -> None:
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
            f"{report.split}: {failed} of {report.listed} clips are left out; {report.failures} "
            "names them",
            file=sys.stderr,
        )
