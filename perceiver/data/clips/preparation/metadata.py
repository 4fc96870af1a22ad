"""Writes the TFDS metadata of a data set of clips: features, class names and splits."""

import json
import os
import pathlib
import tempfile
from collections.abc import Sequence

import tensorflow_datasets as tfds

from perceiver.data.clips import schema
from perceiver.data.clips.preparation.shards import (
    DATASET,
    SplitShards,
    read_text,
    write_atomically,
)
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

_VERSION = "1.0.0"


def check_split_name(split: str) -> None:
    """Raises an InputError if TFDS does not accept the name of a split."""
    if not (split.isascii() and split.isidentifier()) or split == "all":
        raise InputError(
            f"split {split!r}: give a name of letters, digits and '_', other than 'all'"
        )


def write_class_names(out: str, names: Sequence[str]) -> None:
    """Writes the class names, which all splits of the data set share."""
    write_atomically(_class_names_path(out), json.dumps(list(names)))


def check_class_names(out: str, names: Sequence[str]) -> None:
    """Raises an InputError if the data set in `out` was started with other class names."""
    path = _class_names_path(out)
    saved = json.loads(read_text(path)) if tf.io.gfile.exists(path) else list(names)
    if saved != list(names):
        raise InputError(
            f"{out}: its {len(saved)} classes, {', '.join(saved[:3])} and so on, are not the "
            f"{len(names)} given, {', '.join(names[:3])} and so on: give another --out"
        )


def add_split(split: SplitShards, shard_lengths: Sequence[int], num_bytes: int) -> None:
    """Writes the metadata of the data set with its present splits and a new one.

    Args:
      split: the new split, all of whose shards are written.
      shard_lengths: number of records in each shard.
      num_bytes: total size of the shards.
    """
    path = os.path.join(split.out, "preparation", "splits.json")
    splits = json.loads(read_text(path)) if tf.io.gfile.exists(path) else {}
    splits[split.name] = {"shard_lengths": list(shard_lengths), "num_bytes": num_bytes}
    write_atomically(path, json.dumps(splits))
    class_names = json.loads(read_text(_class_names_path(split.out)))
    for name, text in _tfds_files(class_names, splits).items():
        write_atomically(os.path.join(split.out, name), text)


def _class_names_path(out: str) -> str:
    return os.path.join(out, "preparation", "classes.json")


def _tfds_files(class_names: Sequence[str], splits: dict[str, dict]) -> dict[str, str]:
    """Returns the metadata files of TFDS: name -> text, with dataset_info.json last."""
    infos = []
    with tempfile.TemporaryDirectory() as folder:
        for name, counts in splits.items():
            lengths = counts["shard_lengths"]
            # TFDS reads the names of the splits from the names of the files.
            file = f"{DATASET}-{name}.tfrecord-00000-of-{len(lengths):05d}"
            pathlib.Path(folder, file).touch()
            template = tfds.core.ShardedFileTemplate(
                data_dir=folder,
                dataset_name=DATASET,
                split=name,
                filetype_suffix="tfrecord",
            )
            infos.append(
                tfds.core.SplitInfo(
                    name=name,
                    shard_lengths=lengths,
                    num_bytes=counts["num_bytes"],
                    filename_template=template,
                )
            )
        tfds.folder_dataset.write_metadata(
            data_dir=folder,
            features=schema.features(class_names),
            split_infos=infos,
            version=_VERSION,
            check_data=False,
            description="Clips of sound and video: frames at 25 a second, sound at 48 kHz.",
        )
        files = [path for path in pathlib.Path(folder).iterdir() if "tfrecord-" not in path.name]
        files.sort(key=lambda path: path.name == "dataset_info.json")
        return {path.name: path.read_text() for path in files}
