"""Loads any TFDS data set of pictures with one label each, for example ImageNet (Sec. 4.1).

The files that TFDS prepared are read by random access, and pictures stay encoded until they are
cropped, so that only the training crop is decoded.
"""

import os
import re

import numpy as np
import tensorflow_datasets as tfds

from perceiver.data import errors, tfds_folder
from perceiver.data.dataset import Dataset, Features, Source, takes_recipe
from perceiver.data.images import imagenet
from perceiver.data.images.recipe import ImageRecipe
from perceiver.data.stream.records import Records, open_records
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from perceiver.names import unknown


@takes_recipe(ImageRecipe)
def load(
    *, tfds_name: str, dir: str, train_split: str, eval_split: str, recipe: ImageRecipe
) -> Dataset:
    """Opens a prepared data set; each picture is read when its example is computed.

    The labels and class names are those of the data set. Both splits of 'imagenet2012' must be
    complete.

    Args:
      tfds_name: 'name' or 'name/config', optionally with ':version'. Without a version the newest
        one is opened; the config may be omitted if only one is prepared.
      dir: data folder of TFDS, which holds the data set in `<name>/[<config>/]<version>/`.
      train_split: TFDS split for training, for example 'train', 'train[:90%]' or 'train+test'.
      eval_split: TFDS split for evaluation.
      recipe: preprocessing and augmentation; its attributes are options of the loader.

    Returns:
      A data set of 'image', uint8 [S, S, C], and 'label', int32 [].

    Raises:
      InputError: an invalid option, a missing or incomplete data set, other files than TFRecord
        files, or other features than one picture and one label.
    """
    builder = _builder(tfds_name, dir)
    if builder.name == imagenet.TFDS_NAME:
        imagenet.check_counts(builder)
    image_key, label_key = _keys(builder)
    all_features = builder.info.features
    # Other features of a record are not decoded.
    features = tfds.features.FeaturesDict(
        {key: all_features[key] for key in (image_key, label_key)}
    )

    def source(split: str) -> Source:
        records, shifts, ends = _open_split(builder, split)
        all_shifts, all_ends = tf.constant(shifts), tf.constant(ends)

        def example(index: tf.Tensor, seed: tf.Tensor | None) -> Features:
            part = tf.searchsorted(all_ends, index[None], side="right")[0]
            record = features.deserialize_example(
                records.read(index + tf.gather(all_shifts, part)),
                decoders={image_key: tfds.decode.SkipDecoding()},
            )
            contents, label = record[image_key], tf.cast(record[label_key], tf.int32)
            labelled = tf.debugging.assert_non_negative(label, f"the {label_key} is not given")
            with tf.control_dependencies([labelled]):
                image = (
                    recipe.evaluation(contents) if seed is None else recipe.training(contents, seed)
                )
            return {"image": image, "label": label}

        def name(index: int) -> str:
            return records.name(index + shifts[np.searchsorted(ends, index, side="right")])

        return Source(int(ends[-1]), example, name, mix_pair=recipe.mix_pair())

    return Dataset(
        train=source(train_split),
        eval=source(eval_split),
        class_names=tuple(all_features[label_key].names),
    )


def _builder(tfds_name: str, dir: str) -> tfds.core.DatasetBuilder:
    """Opens a data set in `dir` from its files, without the code that has prepared it."""
    if not dir:
        raise InputError("dir is empty: give TFDS's data folder")
    errors.check_listable(dir)
    whole_name, _, version = tfds_name.partition(":")
    name, _, config = whole_name.partition("/")
    folder = os.path.join(dir, *whole_name.split("/"))
    configs = [c for c in _folders(folder) if _versions(os.path.join(folder, c))]
    if not config and not _versions(folder) and configs:
        if len(configs) > 1:
            raise InputError(
                f"{folder} holds several data sets: give tfds_name as one of "
                + ", ".join(repr(f"{name}/{c}") for c in configs)
            )
        folder = os.path.join(folder, configs[0])
    versions = _versions(folder)
    if not versions or (version and version not in versions):
        path = os.path.join(folder, version) if version else folder
        raise InputError(_missing(tfds_name, name, dir, path, versions))
    path = os.path.join(folder, version or versions[-1])
    return tfds_folder.open_folder(path, "prepare the data set again")


def _missing(tfds_name: str, name: str, dir: str, path: str, versions: list[str]) -> str:
    """Returns the message for a missing data set."""
    if versions:
        return f"{path} does not exist: {tfds_name!r} has versions {', '.join(versions)}"
    if name == imagenet.TFDS_NAME:
        command = f"python -m experiments.prepare_data imagenet --archives=DIR --out={dir}"
    else:
        known = [*_folders(dir), *tfds.list_builders(with_community_datasets=False)]
        if name not in known:
            return f"{unknown(name, known, what='TFDS data set')} (there is none in {path} either)"
        command = f"tfds build {tfds_name} --data_dir={dir}"
    return f"TFDS data set {tfds_name!r} is not in {path}: prepare it there with `{command}`"


def _folders(path: str) -> list[str]:
    if not tf.io.gfile.isdir(path):
        return []
    errors.check_listable(path)
    names = sorted(name.rstrip("/") for name in tf.io.gfile.listdir(path))
    return [name for name in names if tf.io.gfile.isdir(os.path.join(path, name))]


def _versions(path: str) -> list[str]:
    """Returns the completely prepared versions of a data set, oldest first."""
    found = [name for name in _folders(path) if re.fullmatch(r"\d+\.\d+\.\d+", name)]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def _keys(builder: tfds.core.DatasetBuilder) -> tuple[str, str]:
    """Returns the names of the picture and of the label among the features."""
    features = builder.info.features
    images = sorted(k for k, kind in features.items() if type(kind) is tfds.features.Image)
    labels = sorted(k for k, kind in features.items() if type(kind) is tfds.features.ClassLabel)
    keys = builder.info.supervised_keys
    if not keys or len(keys) != 2 or keys[0] not in images or keys[1] not in labels:
        if len(images) != 1 or len(labels) != 1:
            raise InputError(
                f"{builder.data_path}: pictures {images} and labels {labels} of the features "
                f"{sorted(features)}: give a data set with one of each"
            )
        keys = images[0], labels[0]
    if features[keys[0]].np_dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{builder.data_path}: {keys[0]!r} has values of {features[keys[0]].np_dtype}: give "
            "pictures stored as JPEG or PNG"
        )
    return keys


def _open_split(
    builder: tfds.core.DatasetBuilder, split: str
) -> tuple[Records, np.ndarray, np.ndarray]:
    """Opens the files of a split and locates its examples in them.

    Returns:
      The records of the files and, for the parts of the split (one or more per file, in order),
      two arrays int64 [parts]: shifts, so that example i in part p is record i + shifts[p], and
      the cumulative numbers of examples at the ends of the parts.
    """
    path = builder.data_path
    try:
        instructions = builder.info.splits[split].file_instructions
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: split {split!r} is not available: {reason}: give another split"
        ) from error
    if not instructions:
        raise InputError(f"{path}: split {split!r} is empty: give a split that has examples")
    if builder.info.file_format is not tfds.core.FileFormat.TFRECORD:
        kind = builder.info.file_format.value
        raise InputError(f"{path} holds {kind} files: prepare it with `--file_format=tfrecord`")
    examples_of = {str(part.filename): part.examples_in_shard for part in instructions}
    records = open_records(list(examples_of))
    for (file, expected), found in zip(examples_of.items(), records.counts, strict=True):
        if found != expected:
            raise InputError(
                f"{file} has {found:,} records and should have {expected:,}: fetch or prepare it "
                "again"
            )
    starts = dict(zip(examples_of, np.cumsum(records.counts) - records.counts, strict=True))
    firsts = np.array([starts[str(p.filename)] + p.skip for p in instructions], np.int64)
    takes = np.array([part.take for part in instructions], np.int64)
    ends = np.cumsum(takes)
    return records, firsts - (ends - takes), ends
