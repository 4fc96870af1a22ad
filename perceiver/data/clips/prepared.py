"""Opens a prepared data set of clips, a plain TFDS data set with the features of `schema`."""

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
class Prepared:
    """A prepared data set.

    Attributes:
      dir: its folder.
      class_names: in the order of the labels.
      splits: what there are, with the numbers of their clips.
      files: the TFRecord files of each split.
    """

    dir: str
    class_names: tuple[str, ...]
    splits: dict[str, int]
    files: dict[str, list[str]]

    def source(
        self, split: str, recipe: ClipRecipe, labels: Callable[[tf.Tensor], Features]
    ) -> Source:
        """The clips of one split.

        Args:
          split: its name, or several names joined by '+', one after another.
          recipe: what is made of each clip.
          labels: int64 [n], the indices of a clip's classes -> its label as a feature.

        Raises:
          InputError: an unknown split, or one whose files are missing, damaged or too few.
        """
        records = self._records(split)
        read = recipe.reader()

        def example(index: tf.Tensor, seed: tf.Tensor | None) -> Features:
            clip = schema.parse(records.read(index))
            return read(clip, seed) | labels(clip["labels"])

        return Source(
            records.num_records,
            example,
            lambda index: _name(records, index),
            eval_windows=recipe.eval_windows,
        )

    def _records(self, split: str) -> Records:
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


def open_prepared(dir: str, prepare: str) -> Prepared:
    """Opens the data set in a folder, on this machine or wherever TensorFlow reads from.

    Args:
      dir: the folder.
      prepare: the command that prepares it, for messages.

    Raises:
      InputError: there is none, or one of another kind.
    """
    errors.check_listable(str(dir))
    for needed in tfds_folder.INFO_FILES:
        if not dir or not tf.io.gfile.exists(os.path.join(dir, needed)):
            raise InputError(
                f"no prepared clips in {str(dir)!r} ({needed} is missing): prepare them with "
                f"`{prepare}`"
            )
    info = tfds_folder.open_folder(
        str(dir), "run the command that prepared it again, which writes it anew"
    ).info
    lacking = [name for name in schema.features([]) if name not in info.features]
    if lacking:
        raise InputError(
            f"{str(dir)!r} is a data set of another kind (it has no {lacking[0]!r}): prepare clips "
            f"with `{prepare}`"
        )
    return Prepared(
        dir=str(dir),
        class_names=tuple(info.features["labels"].feature.names),
        splits={name: split.num_examples for name, split in info.splits.items()},
        files={
            name: [os.fspath(file) for file in split.filepaths]
            for name, split in info.splits.items()
        },
    )


def _name(records: Records, index: int) -> str:
    """The id of a clip where its record can still be read, and the place of the record."""
    place = records.name(index)
    try:
        clip = tf.train.Example.FromString(records.read(tf.constant(index, tf.int64)).numpy())
    except tf.errors.OpError:
        return place
    (name,) = clip.features.feature["id"].bytes_list.value
    return f"{name.decode(errors='backslashreplace')} ({place})"
