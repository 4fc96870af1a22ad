"""What makes a folder of TFRecord files a TFDS data set: its features, class names and splits."""

import json
import os
import pathlib
import tempfile
from collections.abc import Sequence

import tensorflow_datasets as tfds

from perceiver.data.clips import schema
from perceiver.data.clips.preparation import shards
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

_VERSION = "1.0.0"


def check_name(split: str) -> None:
    """Raises an InputError if a split cannot be called so."""
    if not (split.isascii() and split.isidentifier()) or split == "all":
        raise InputError(
            f"split {split!r}: give a name of letters, digits and '_', other than 'all'"
        )


def keep_class_names(out: str, names: Sequence[str]) -> None:
    """Writes the class names down, which all splits of a data set share."""
    shards.write_whole(_class_names(out), json.dumps(list(names)))


def check_class_names(out: str, names: Sequence[str]) -> None:
    """Raises an InputError if a data set that was begun has other class names."""
    path = _class_names(out)
    kept = json.loads(shards.read(path)) if tf.io.gfile.exists(path) else list(names)
    if kept != list(names):
        raise InputError(
            f"{out}: its {len(kept)} classes, {', '.join(kept[:3])} and so on, are not the "
            f"{len(names)} given, {', '.join(names[:3])} and so on: give another --out"
        )


def add_split(split: shards.Split, shard_lengths: Sequence[int], num_bytes: int) -> None:
    """Writes the description of the data set, with the splits that it has and a new one.

    Args:
      split: the split, all of whose shards are written.
      shard_lengths: the number of records in each.
      num_bytes: the size of all its files.
    """
    path = os.path.join(split.out, "preparation", "splits.json")
    splits = json.loads(shards.read(path)) if tf.io.gfile.exists(path) else {}
    splits[split.name] = {"shard_lengths": list(shard_lengths), "num_bytes": num_bytes}
    shards.write_whole(path, json.dumps(splits))
    class_names = json.loads(shards.read(_class_names(split.out)))
    for name, text in _description(class_names, splits).items():
        shards.write_whole(os.path.join(split.out, name), text)


def _class_names(out: str) -> str:
    return os.path.join(out, "preparation", "classes.json")


def _description(class_names: Sequence[str], splits: dict[str, dict]) -> dict[str, str]:
    """The files that TFDS keeps beside the records: name -> text, dataset_info.json last."""
    infos = []
    with tempfile.TemporaryDirectory() as folder:
        for name, counts in splits.items():
            lengths = counts["shard_lengths"]
            # TFDS learns from the names of the files what the splits are called.
            file = f"{shards.DATASET}-{name}.tfrecord-00000-of-{len(lengths):05d}"
            pathlib.Path(folder, file).touch()
            template = tfds.core.ShardedFileTemplate(
                data_dir=folder,
                dataset_name=shards.DATASET,
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
