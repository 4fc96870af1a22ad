"""The saved arguments of a split, so that a stopped preparation can resume."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Sequence

from perceiver.data.clips.preparation import metadata
from perceiver.data.clips.preparation.decoder_process import ListedClip
from perceiver.data.clips.preparation.shards import (
    SplitShards,
    read_text,
    write_atomically,
    write_lists,
)
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Clips per shard, for files of about 200 to 400 MB.
_CLIPS_WITH_FRAMES = 64
_CLIPS_WITHOUT_FRAMES = 256


def digest(text: str) -> str:
    """Returns a short hash of a long text."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


class SplitPlan:
    """The plan of a split, which is saved in the folder of the data set as `plan.json`.

    Attributes:
      class_names: names of the classes of the data set.
      split: the shards; their number is set by `resume` or `start`.
      num_listed: number of listed clips, with or without a file.
      missing: ids of the clips that have no file.
    """

    def __init__(
        self,
        out: str,
        name: str,
        arguments: dict[str, str | float],
        class_names: Sequence[str],
        clips_dir: str,
        num_shards: int | None,
    ):
        """Sets the arguments; reads and writes nothing.

        Args:
          out: folder of the data set.
          name: name of the split.
          arguments: values that must not change when a preparation is resumed; with 'need'.
          class_names: names of the classes.
          clips_dir: folder of the sound and video files.
          num_shards: number of record files; None for a number that suits the clips.
        """
        self._arguments = arguments
        self._num_shards = num_shards
        self.class_names = list(class_names)
        self.split = SplitShards(out, name, num_shards or 0, clips_dir, str(arguments["need"]))
        self.missing: list[str] = []
        self.num_listed = 0
        self._path = os.path.join(self.split.folder, "plan.json")

    def resume(self) -> bool:
        """Loads the saved plan of the split, and returns whether there is one.

        Raises:
          InputError: the split was started with other arguments.
        """
        metadata.check_split_name(self.split.name)
        metadata.check_class_names(self.split.out, self.class_names)
        if not tf.io.gfile.exists(self._path):
            return False
        plan = json.loads(read_text(self._path))
        arguments = self._arguments | ({"shards": self._num_shards} if self._num_shards else {})
        saved = plan["asked"] | {"shards": plan["shards"]}
        differences = [
            f"{key} {saved.get(key)!r} and not {value!r}"
            for key, value in arguments.items()
            if saved.get(key) != value
        ]
        if differences:
            raise InputError(
                f"{self.split.out}: split {self.split.name!r} was begun with "
                f"{', '.join(differences)}: give the same arguments, or another --out"
            )
        self._set(plan)
        return True

    def start(self, clips: Sequence[ListedClip], missing: Sequence[str]) -> None:
        """Saves the plan of a new split and the lists of its shards.

        Args:
          clips: clips that have a file.
          missing: ids of the listed clips that have none.
        """
        need_frames = self._arguments["need"] != "sound"
        clips_per_shard = _CLIPS_WITH_FRAMES if need_frames else _CLIPS_WITHOUT_FRAMES
        plan = {
            "asked": self._arguments,
            "shards": self._num_shards or math.ceil(len(clips) / clips_per_shard),
            "listed": len(clips) + len(missing),
            "missing": list(missing),
        }
        self._set(plan)
        metadata.write_class_names(self.split.out, self.class_names)
        write_lists(self.split, clips)
        write_atomically(self._path, json.dumps(plan))

    def _set(self, plan: dict) -> None:
        self.split = dataclasses.replace(self.split, num_shards=plan["shards"])
        self.num_listed, self.missing = plan["listed"], plan["missing"]
