"""One split of clips as work that can be stopped at any moment: shards, each written once, whole.

A split is dealt to its shards before the first clip is decoded, and the list of each shard is
written down; writing a shard then depends on its list alone. A shard appears under its name only
when it is whole, and what is there is not made again. So the work can be killed and started again,
shared among machines that know nothing of each other, or done twice by accident, and gives the
same bytes.

    OUT/clips-SPLIT.tfrecord-00000-of-00012   the records
    OUT/preparation/SPLIT/lists/00000.json    what belongs in them
    OUT/preparation/SPLIT/reports/00000.json  what became of it; written after the records
    OUT/preparation/SPLIT/plan.json           what was asked for; written after the lists
"""

import dataclasses
import hashlib
import json
import os
import re
import uuid
from collections.abc import Sequence

from perceiver.data.clips.preparation import decoder_process
from perceiver.data.clips.preparation.decoder_process import Listed
from perceiver.data.clips.preparation.decoding import ClipError
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

DATASET = "clips"  # the name that TFDS gives the data set
LISTS, REPORTS, PARTIAL, PLAN = "lists", "reports", "partial", "plan.json"


@dataclasses.dataclass(frozen=True)
class Split:
    """A split that is being prepared.

    Attributes:
      out: folder of the data set.
      name: of the split.
      num_shards: how many files its records go to.
      clips: folder of the sound and video files.
      want: what a clip must have, as in `decoding.decode`.
    """

    out: str
    name: str
    num_shards: int
    clips: str
    want: str

    def records(self, shard: int) -> str:
        """The file of a shard's records, named as TFDS expects it."""
        return os.path.join(
            self.out, f"{DATASET}-{self.name}.tfrecord-{shard:05d}-of-{self.num_shards:05d}"
        )

    def note(self, kind: str, shard: int) -> str:
        """The file of a shard's list or report."""
        return os.path.join(folder(self.out, self.name), kind, f"{shard:05d}.json")


def folder(out: str, split: str) -> str:
    """Where the notes about the preparation of a split are."""
    return os.path.join(out, "preparation", split)


def write_lists(split: Split, clips: Sequence[Listed]) -> None:
    """Deals clips to the shards, like cards, in an order that is random but always the same."""

    def draw(clip: Listed) -> bytes:
        return hashlib.sha256(clip.id.encode(errors="surrogateescape")).digest()

    shuffled = sorted(clips, key=draw)
    for shard in range(split.num_shards):
        dealt = [dataclasses.astuple(clip) for clip in shuffled[shard :: split.num_shards]]
        write_whole(split.note(LISTS, shard), json.dumps(dealt))


def report(split: Split, shard: int) -> dict | None:
    """What became of a shard's clips; None if it is not done, or not whole.

    Returns:
      'ids': those of its records; 'bytes': the size of their file; 'longer': how many clips were
      cut to their longest; 'failures': for each clip that could not be had its id, its file and
      the reason.
    """
    try:
        found = json.loads(read(split.note(REPORTS, shard)))
        whole = tf.io.gfile.stat(split.records(shard)).length == found["bytes"]
    except (tf.errors.NotFoundError, json.JSONDecodeError):
        return None  # a machine that loses its power can leave a file cut short under its name
    return found if whole else None


def reported(split: Split) -> set[int]:
    """The shards that have a report, whole or not: one look at a folder, however many there are."""
    try:
        names = tf.io.gfile.listdir(os.path.join(folder(split.out, split.name), REPORTS))
    except tf.errors.NotFoundError:
        return set()
    return {int(name[:5]) for name in names if re.fullmatch(r"\d{5}\.json", name)}


def write(split: Split, shard: int) -> None:
    """Decodes the clips of a shard and writes its records and its report, unless they are there.

    Raises:
      InputError: the records cannot be written; the file and the cause are named.
    """
    if report(split, shard) is not None:
        return
    clips = [Listed(*fields) for fields in json.loads(read(split.note(LISTS, shard)))]
    records = split.records(shard)
    partial = os.path.join(
        folder(split.out, split.name), PARTIAL, f"{shard:05d}.{uuid.uuid4().hex}"
    )
    outcome = {"ids": [], "longer": 0, "failures": []}
    try:
        tf.io.gfile.makedirs(os.path.dirname(partial))
        with tf.io.TFRecordWriter(partial) as writer, decoder_process.decoder() as decoder:
            for listed in clips:
                try:
                    record, longer = decoder.record(listed, split.clips, split.want)
                except ClipError as error:
                    outcome["failures"].append((listed.id, listed.path, str(error)))
                    continue
                writer.write(record)
                outcome["ids"].append(listed.id)
                outcome["longer"] += longer
        outcome["bytes"] = tf.io.gfile.stat(partial).length
        tf.io.gfile.rename(partial, records, overwrite=True)
    except tf.errors.OpError as error:
        if report(split, shard) is not None:
            return  # another process has done the same work, and cleared away what was left
        raise _unwritten(records, error) from error
    write_whole(split.note(REPORTS, shard), json.dumps(outcome))


def write_whole(path: str, text: str) -> None:
    """Writes a file under a temporary name and renames it, so that it appears whole.

    Raises:
      InputError: it cannot be written.
    """
    temporary = f"{path}.{uuid.uuid4().hex}"
    try:
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(text.encode(errors="surrogateescape"))
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except tf.errors.OpError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: str, error: tf.errors.OpError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({' '.join(error.message.split())}): see to it and run the "
        "same command again, which goes on where it stopped"
    )


def read(path: str) -> str:
    """The text of a file, local or with an address that TensorFlow opens."""
    with tf.io.gfile.GFile(path, "r") as file:
        return file.read()
