"""Builds the functions that read single files; `single_files` is their entry point.

Pictures, clips and point clouds are processed as the folder loaders process them without a seed
(Sec. 4.1 to 4.3), so a file of a data set yields exactly the values that its evaluation uses.
"""

import dataclasses
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from perceiver.data import class_folders
from perceiver.data.class_folders import FileKind
from perceiver.data.clips import clip_folder, schema
from perceiver.data.clips.preparation import decoder_process
from perceiver.data.clips.preparation.decoding import ClipError
from perceiver.data.clips.preparation.prepare import CLIP_FILES
from perceiver.data.clips.recipe import MODALITIES as CLIP_MODALITIES
from perceiver.data.clips.recipe import ClipRecipe
from perceiver.data.dataset import Features
from perceiver.data.errors import tensorflow_reason
from perceiver.data.images import pictures
from perceiver.data.points import folder as point_folder
from perceiver.data.points.clouds import CloudRecipe
from perceiver.data.single_files import Inputs, Reader, Reading
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Data sets whose evaluation uses the whole picture instead of a central crop.
_UNCROPPED = ("digits",)
# Values for the attributes of a cloud recipe that only training uses.
_WITHOUT_AUGMENTATION: dict[str, Any] = {
    "scale": (1.0, 1.0),
    "translation": 0.0,
    "rotation": "none",
}


def reader(modalities: Collection[str], data: Mapping[str, Any]) -> Reader:
    """Returns the reader of files for a network; see `single_files.reader`."""
    data = {key: tuple(x) if isinstance(x, list) else x for key, x in data.items()}
    if set(modalities) == {"image"}:
        return _picture_reader(data)
    if set(modalities) == {"points"}:
        return _cloud_reader(data)
    if modalities and set(modalities) <= set(CLIP_MODALITIES):
        return _clip_reader({"modalities": tuple(modalities)} | data)
    raise InputError(
        f"no kind of file holds the network's inputs, {', '.join(modalities)}: files are read for "
        f"image, for points, or for any of {', '.join(CLIP_MODALITIES)}"
    )


def _picture_reader(data: dict[str, Any]) -> Reader:
    size, channels = data["image_size"], data["channels"]
    share = 1.0 if data.get("name") in _UNCROPPED else pictures.CENTRAL_CROP

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def evaluation(contents: tf.Tensor) -> Features:
        return {"image": pictures.evaluation(contents, size, channels, share)[tf.newaxis]}

    def read(path: str) -> Reading:
        _check(path, pictures.PICTURES)
        return Reading(_run(evaluation, tf.constant(_contents(path)), path))

    return Reader(pictures.PICTURES, 1, read)


def _cloud_reader(data: dict[str, Any]) -> Reader:
    recipe = _recipe(CloudRecipe, _WITHOUT_AUGMENTATION | data)
    root = os.path.abspath(data["dir"]) if data.get("name") == "point_folder" else None

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    def evaluation(points: tf.Tensor) -> Features:
        return {"points": recipe(points, None)[tf.newaxis]}

    def read(path: str) -> Reading:
        _check(path, point_folder.KIND)
        # The loader's choice of points depends on the path of the file in the data set.
        absolute = pathlib.Path(os.path.abspath(path))
        key = absolute.name
        if root is not None and absolute.is_relative_to(root):
            key = absolute.relative_to(root).as_posix()
        points = point_folder.read_file(path, key, recipe.num_points)
        return Reading(_run(evaluation, tf.constant(points), path))

    return Reader(point_folder.KIND, 1, read)


def _clip_reader(data: dict[str, Any]) -> Reader:
    recipe = _recipe(ClipRecipe, data)
    windows = recipe.reader()
    need = clip_folder.needed_streams(recipe.modalities)
    seconds = data.get("max_seconds", clip_folder.MAX_SECONDS)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def evaluation(record: tf.Tensor) -> Features:
        return windows(schema.parse(record), None)

    def read(path: str) -> Reading:
        _check(path, CLIP_FILES)
        clip = decoder_process.ListedClip(path, path, (), 0.0, seconds, trimmed=True)
        try:
            with decoder_process.borrow_decoder() as decoder:
                record, longer = decoder.decode(clip, "", need)
        except ClipError as error:
            raise InputError(f"{path}: {error}: replace or remove it") from error
        return Reading(_run(evaluation, tf.constant(record), path), longer)

    return Reader(
        CLIP_FILES, recipe.eval_windows, read, release=decoder_process.close_idle_decoders
    )


def _recipe(kind: type, data: Mapping[str, Any]) -> Any:
    """Returns a recipe, taking the options that are attributes of it."""
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: x for name, x in data.items() if name in names})


def _check(path: str, kind: FileKind) -> None:
    """Checks the beginning of a regular file; reading a pipe could block for ever."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{path}: is not a file: replace or remove it")
    class_folders.check_file(path, kind)


def _contents(path: str) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}): replace or remove it"
        ) from error


def _run(function: Any, argument: tf.Tensor, path: str) -> Inputs:
    """Returns the features that a `tf.function` computes for the content of a file."""
    try:
        features = function(argument)
    except tf.errors.OpError:
        try:
            features = function.python_function(argument)  # messages of a graph hide the reason
        except tf.errors.OpError as error:
            raise InputError(
                f"{path}: cannot be read ({tensorflow_reason(error.message)}): replace or remove it"
            ) from error
    return {name: value.numpy() for name, value in features.items()}
