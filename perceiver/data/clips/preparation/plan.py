"""What a split was begun with, kept in the folder of the data set, so that work can go on."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Sequence

from perceiver.data.clips.preparation import metadata, shards
from perceiver.data.clips.preparation.decoder_process import Listed
from perceiver.data.clips.preparation.shards import Split
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Clips in a shard, so that its file is of some 200 to 400 MB.
_CLIPS_WITH_FRAMES = 64
_CLIPS_WITHOUT = 256


def digest(text: str) -> str:
    """A short name for a long text, the same for the same text."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


class Plan:
    """What was asked for, as the folder of the data set remembers it."""

    def __init__(
        self,
        out: str,
        name: str,
        asked: dict[str, str | float],
        class_names: Sequence[str],
        clips: str,
        num_shards: int | None,
    ):
        self._path = os.path.join(shards.folder(out, name), shards.PLAN)
        self._asked = asked
        self._num_shards = num_shards
        self.class_names = list(class_names)
        self.split = Split(out, name, num_shards or 0, clips, str(asked["need"]))
        self.missing: list[str] = []
        self.listed = 0

    def begun(self) -> bool:
        """Whether the split was begun before; if so, goes on with it.

        Raises:
          InputError: it was begun with other arguments.
        """
        metadata.check_name(self.split.name)
        metadata.check_class_names(self.split.out, self.class_names)
        if not tf.io.gfile.exists(self._path):
            return False
        plan = json.loads(shards.read(self._path))
        asked = self._asked | ({"shards": self._num_shards} if self._num_shards else {})
        before = plan["asked"] | {"shards": plan["shards"]}
        differences = [
            f"{key} {before.get(key)!r} and not {value!r}"
            for key, value in asked.items()
            if before.get(key) != value
        ]
        if differences:
            raise InputError(
                f"{self.split.out}: split {self.split.name!r} was begun with "
                f"{', '.join(differences)}: give what was given then, or another --out"
            )
        self._set(plan)
        return True

    def begin(self, listed: Sequence[Listed], missing: Sequence[str]) -> None:
        """Writes down what is to be done."""
        size = _CLIPS_WITHOUT if self._asked["need"] == "sound" else _CLIPS_WITH_FRAMES
        plan = {
            "asked": self._asked,
            "shards": self._num_shards or math.ceil(len(listed) / size),
            "listed": len(listed) + len(missing),
            "missing": list(missing),
        }
        self._set(plan)
        metadata.keep_class_names(self.split.out, self.class_names)
        shards.write_lists(self.split, listed)
        shards.write_whole(self._path, json.dumps(plan))

    def _set(self, plan: dict) -> None:
        self.split = dataclasses.replace(self.split, num_shards=plan["shards"])
        self.listed, self.missing = plan["listed"], plan["missing"]
