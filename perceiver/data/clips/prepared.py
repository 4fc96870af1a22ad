"""Opens a prepared data set of clips: a TFDS data set with the features of `schema`."""

import dataclasses
import os
from collections.abc import Callable

from perceiver.data import errors, tfds_folder
from perceiver.data.clips import schema
from perceiver.data.clips.recipe import ClipRecipe
from perceiver.data.dataset import Features, Source
from perceiver.data.stream.records import Records, open_records
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from perceiver.names import look_up


@dataclasses.dataclass(frozen=True)
class PreparedClips:
    """A prepared data set of clips.

    Attributes:
      dir: folder of the data set.
      class_names: names of the classes, in the order of the labels.
      splits: number of clips of each split.
      files: paths of the TFRecord files of each split.
    """

    dir: str
    class_names: tuple[str, ...]
    splits: dict[str, int]
    files: dict[str, list[str]]

    def source(
        self, split: str, recipe: ClipRecipe, labels: Callable[[tf.Tensor], Features]
    ) -> Source:
        """Returns the source of the clips of a split.

        Args:
          split: name of the split, or several names joined by '+', whose clips are concatenated.
          recipe: pre-processing and augmentation of the clips.
          labels: function from the class indices of a clip, int64 [n], to its label features.

        Raises:
          InputError: a split is unknown, or its files are missing, damaged or too few.
        """
        records = self._open_records(split)
        read = recipe.reader()

        def example(index: tf.Tensor, seed: tf.Tensor | None) -> Features:
            clip = schema.parse(records.read(index))
            return read(clip, seed) | labels(clip["labels"])

        return Source(
            records.num_records,
            example,
            lambda index: _describe(records, index),
            eval_windows=recipe.eval_windows,
        )

    def _open_records(self, split: str) -> Records:
        names = split.split("+")
        try:
            files = [file for name in names for file in look_up(self.files, name, what="split")]
        except ValueError as error:
            raise InputError(f"{self.dir!r}: {error}") from error
        if len(set(names)) < len(names):
            raise InputError(f"split {split!r} names a split twice: name each once")
        expected = sum(self.splits[name] for name in names)
        if not expected:
            raise InputError(f"split {split!r} of {self.dir!r} has no clips: prepare it again")
        records = open_records(files)
        if records.num_records != expected:
            raise InputError(
                f"split {split!r} of {self.dir!r} has {records.num_records} clips, not the "
                f"{expected} that dataset_info.json states: prepare it again"
            )
        return records


def open_prepared(dir: str, command: str) -> PreparedClips:
    """Opens the data set in a folder, local or with an address that TensorFlow opens.

    Args:
      dir: folder of the data set.
      command: command that prepares it, for messages.

    Raises:
      InputError: the folder has no data set, or one that does not contain clips.
    """
    errors.check_listable(str(dir))
    for needed in tfds_folder.INFO_FILES:
        if not dir or not tf.io.gfile.exists(os.path.join(dir, needed)):
            raise InputError(
                f"no prepared clips in {str(dir)!r} ({needed} is missing): prepare them with "
                f"`{command}`"
            )
    info = tfds_folder.open_folder(
        str(dir), "run the command that prepared the data set again"
    ).info
    lacking = [name for name in schema.features([]) if name not in info.features]
    if lacking:
        raise InputError(
            f"{str(dir)!r} is a data set of another kind (it has no {lacking[0]!r}): prepare clips "
            f"with `{command}`"
        )
    return PreparedClips(
        dir=str(dir),
        class_names=tuple(info.features["labels"].feature.names),
        splits={name: split.num_examples for name, split in info.splits.items()},
        files={
            name: [os.fspath(file) for file in split.filepaths]
            for name, split in info.splits.items()
        },
    )


def _describe(records: Records, index: int) -> str:
    """Returns the file and number of a record, after the id of its clip if it can be read."""
    place = records.name(index)
    try:
        clip = tf.train.Example.FromString(records.read(tf.constant(index, tf.int64)).numpy())
    except tf.errors.OpError:
        return place
    (name,) = clip.features.feature["id"].bytes_list.value
    return f"{name.decode(errors='backslashreplace')} ({place})"
