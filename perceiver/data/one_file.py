"""A single file of a user's as evaluation would show it to a network, outside any data set.

Pictures, clips and point clouds go through what the loaders of folders put them through without a
seed (Sec. 4.1 to 4.3), so that a file of a data set gives the very values that its evaluation sees.
"""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from perceiver.data import class_folders
from perceiver.data.class_folders import FileKind
from perceiver.data.clips import clip_folder, schema
from perceiver.data.clips.preparation import decoder_process
from perceiver.data.clips.preparation.decoding import ClipError
from perceiver.data.clips.preparation.prepare import CLIP_FILES
from perceiver.data.clips.recipe import MODALITIES as OF_CLIPS
from perceiver.data.clips.recipe import ClipRecipe
from perceiver.data.errors import plain
from perceiver.data.images import pictures
from perceiver.data.points import folder as point_folder
from perceiver.data.points.clouds import CloudRecipe
from perceiver.data.source import Features
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Data sets whose evaluation shows pictures up to their edges.
_WHOLE = ("digits",)
# What a recipe of clouds asks for and evaluation does not go by.
_NOT_AUGMENTED = {"scale": (1.0, 1.0), "translation": 0.0, "rotation": "none"}
_READERS = 4  # files read at once: TensorFlow and FFmpeg let go of the interpreter

Inputs = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a file gives.

    Attributes:
      inputs: by modality, [W, ...], W windows of a clip or 1; see `Source` for the rest.
      longer: whether the file goes on after what was taken of it.
    """

    inputs: Inputs
    longer: bool = False


@dataclasses.dataclass(frozen=True)
class Reader:
    """How the files of a network are read.

    Attributes:
      kind: what files it takes. Files of pictures and clips may have any name.
      windows: W, of each file.
      read: path -> reading; an InputError that names the file where there can't be one.
    """

    kind: FileKind
    windows: int
    read: Callable[[str], Reading]


def reader(modalities: Collection[str], data: Mapping[str, Any]) -> Reader:
    """How files are read for a network.

    Args:
      modalities: what the network takes: 'image', 'points', or some of 'audio', 'spectrogram' and
        'video', which come from one file.
      data: the options of its data set, those of `registry.load` with 'name', which a network that
        was not trained on any does without; lists may stand for tuples. What is said of other
        data than a file's content, such as a split, is passed over.

    Raises:
      InputError: other modalities, or options that can't be.
    """
    data = {key: tuple(x) if isinstance(x, list) else x for key, x in data.items()}
    if set(modalities) == {"image"}:
        return _of_pictures(data)
    if set(modalities) == {"points"}:
        return _of_clouds(data)
    if modalities and set(modalities) <= set(OF_CLIPS):
        return _of_clips({"modalities": tuple(modalities)} | data)
    raise InputError(
        f"no kind of file holds what the network takes, {', '.join(modalities)}: files are read "
        f"for image, for points, and for any of {', '.join(OF_CLIPS)}"
    )


def read_each(
    read: Callable[[str], Reading], paths: Sequence[str]
) -> Iterator[tuple[str, Reading | InputError]]:
    """Reads files side by side, only a few ahead of those that have been taken.

    Args:
      read: of a `Reader`.
      paths: the files.

    Yields:
      (path, its reading, or what is wrong with the file), in the order of the paths.
    """

    def attempt(path: str) -> Reading | InputError:
        try:
            return read(path)
        except InputError as error:
            return error

    waiting: collections.deque = collections.deque()
    with (
        decoder_process.closing_idle_decoders(),
        concurrent.futures.ThreadPoolExecutor(_READERS) as pool,
    ):
        try:
            for path in paths:
                waiting.append((path, pool.submit(attempt, path)))
                if len(waiting) > 2 * _READERS:
                    first, reading = waiting.popleft()
                    yield first, reading.result()
            while waiting:
                first, reading = waiting.popleft()
                yield first, reading.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _of_pictures(data: Mapping[str, Any]) -> Reader:
    size, channels = data["image_size"], data["channels"]
    share = 1.0 if data.get("name") in _WHOLE else pictures.CENTRAL_CROP

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def evaluation(contents: tf.Tensor) -> Features:
        return {"image": pictures.evaluation(contents, size, channels, share)[tf.newaxis]}

    def read(path: str) -> Reading:
        _check(path, pictures.PICTURES)
        return Reading(_run(evaluation, tf.constant(_contents(path)), path))

    return Reader(pictures.PICTURES, 1, read)


def _of_clouds(data: Mapping[str, Any]) -> Reader:
    recipe = _recipe(CloudRecipe, _NOT_AUGMENTED | data)
    root = os.path.abspath(data["dir"]) if data.get("name") == "point_folder" else None

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    def evaluation(points: tf.Tensor) -> Features:
        return {"points": recipe(points, None)[tf.newaxis]}

    def read(path: str) -> Reading:
        _check(path, point_folder.KIND)
        # Which points are drawn of a file of the data set depends on where it is in it.
        whole = pathlib.Path(os.path.abspath(path))
        inside = root is not None and whole.is_relative_to(root)
        key = whole.relative_to(root).as_posix() if inside else whole.name
        points = point_folder.read_file(path, key, recipe.num_points)
        return Reading(_run(evaluation, tf.constant(points), path))

    return Reader(point_folder.KIND, 1, read)


def _of_clips(data: Mapping[str, Any]) -> Reader:
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

    return Reader(CLIP_FILES, recipe.eval_windows, read)


def _recipe(kind: type, data: Mapping[str, Any]) -> Any:
    """The recipe of the options that are its own."""
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: x for name, x in data.items() if name in names})


def _check(path: str, kind: FileKind) -> None:
    """Refuses what is no file, such as a pipe, from which reading might never come back."""
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
    """What a `tf.function` of an array gives."""
    try:
        found = function(argument)
    except tf.errors.OpError:
        try:
            found = function.python_function(argument)  # a graph's own messages hide the reason
        except tf.errors.OpError as error:
            raise InputError(
                f"{path}: cannot be read ({plain(error.message)}): replace or remove it"
            ) from error
    return {name: value.numpy() for name, value in found.items()}
