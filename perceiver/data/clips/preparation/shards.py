"""Writes one split of clips as shards; the work can be stopped and resumed at any moment.

All clips of a split are assigned to shards before the first one is decoded, and the list of each
shard is saved. The content of a shard then depends on its list only. A shard appears under its
final name only when it is complete, and an existing shard is not written again. So the work can be
killed and restarted, shared between machines that do not know of each other, or done twice by
accident, and gives the same bytes.

    OUT/clips-SPLIT.tfrecord-00000-of-00012   the records of shard 0
    OUT/preparation/SPLIT/lists/00000.json    the clips of shard 0
    OUT/preparation/SPLIT/reports/00000.json  the outcome of shard 0; written after the records
    OUT/preparation/SPLIT/plan.json           the arguments (see `plan`); written after the lists
"""

import dataclasses
import hashlib
import json
import os
import re
import uuid
from collections.abc import Sequence

from perceiver.data.clips.preparation.decoder_process import ListedClip, borrow_decoder
from perceiver.data.clips.preparation.decoding import ClipError
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

DATASET = "clips"  # the name of the data set in TFDS
LISTS, REPORTS, PARTIAL = "lists", "reports", "partial"


@dataclasses.dataclass(frozen=True)
class SplitShards:
    """The shards of a split that is being prepared.

    Attributes:
      out: folder of the data set.
      name: name of the split.
      num_shards: number of record files.
      clips_dir: folder of the sound and video files.
      need: streams that a clip must have, as in `decoding.decode`.
    """

    out: str
    name: str
    num_shards: int
    clips_dir: str
    need: str

    @property
    def folder(self) -> str:
        """The folder of the files that describe the preparation of the split."""
        return os.path.join(self.out, "preparation", self.name)

    def records_path(self, shard: int) -> str:
        """Returns the path of the records of a shard, with the name that TFDS expects."""
        return os.path.join(
            self.out, f"{DATASET}-{self.name}.tfrecord-{shard:05d}-of-{self.num_shards:05d}"
        )

    def json_path(self, kind: str, shard: int) -> str:
        """Returns the path of the list or the report of a shard; `kind` is LISTS or REPORTS."""
        return os.path.join(self.folder, kind, f"{shard:05d}.json")


def write_lists(split: SplitShards, clips: Sequence[ListedClip]) -> None:
    """Deals clips evenly to the shards, in an order that is random but depends on the ids only."""

    def random_key(clip: ListedClip) -> bytes:
        return hashlib.sha256(clip.id.encode(errors="surrogateescape")).digest()

    shuffled = sorted(clips, key=random_key)
    for shard in range(split.num_shards):
        assigned = [dataclasses.astuple(clip) for clip in shuffled[shard :: split.num_shards]]
        write_atomically(split.json_path(LISTS, shard), json.dumps(assigned))


def read_report(split: SplitShards, shard: int) -> dict | None:
    """Reads the report of a shard; None if the shard is not written or not complete.

    Returns:
      'ids': ids of the records; 'bytes': size of the record file; 'longer': number of clips that
      continue in their file; 'failures': id, file and reason of each clip that failed.
    """
    try:
        report = json.loads(read_text(split.json_path(REPORTS, shard)))
        complete = tf.io.gfile.stat(split.records_path(shard)).length == report["bytes"]
    except (tf.errors.NotFoundError, json.JSONDecodeError):
        return None  # a machine that loses power can leave a truncated file under its final name
    return report if complete else None


def reported_shards(split: SplitShards) -> set[int]:
    """Returns the shards that have a report, complete or not, by listing one folder."""
    try:
        names = tf.io.gfile.listdir(os.path.join(split.folder, REPORTS))
    except tf.errors.NotFoundError:
        return set()
    return {int(name[:5]) for name in names if re.fullmatch(r"\d{5}\.json", name)}


def write_shard(split: SplitShards, shard: int) -> None:
    """Decodes the clips of a shard and writes its records and its report, unless they exist.

    Raises:
      InputError: the records cannot be written; the message names the file and the cause.
    """
    if read_report(split, shard) is not None:
        return
    clips = [ListedClip(*fields) for fields in json.loads(read_text(split.json_path(LISTS, shard)))]
    records_path = split.records_path(shard)
    partial_path = os.path.join(split.folder, PARTIAL, f"{shard:05d}.{uuid.uuid4().hex}")
    ids: list[str] = []
    failures: list[tuple[str, str, str]] = []  # id, file and reason
    num_longer = 0
    try:
        tf.io.gfile.makedirs(os.path.dirname(partial_path))
        with tf.io.TFRecordWriter(partial_path) as writer, borrow_decoder() as decoder:
            for clip in clips:
                try:
                    record, longer = decoder.decode(clip, split.clips_dir, split.need)
                except ClipError as error:
                    failures.append((clip.id, clip.path, str(error)))
                    continue
                writer.write(record)
                ids.append(clip.id)
                num_longer += longer
        num_bytes = tf.io.gfile.stat(partial_path).length
        tf.io.gfile.rename(partial_path, records_path, overwrite=True)
    except tf.errors.OpError as error:
        if read_report(split, shard) is not None:
            return  # another process wrote the same shard and removed the partial files
        raise _write_error(records_path, error) from error
    report = {"ids": ids, "longer": num_longer, "failures": failures, "bytes": num_bytes}
    write_atomically(split.json_path(REPORTS, shard), json.dumps(report))


def write_atomically(path: str, text: str) -> None:
    """Writes a file under a temporary name and renames it, so that it appears complete.

    Raises:
      InputError: the file cannot be written.
    """
    temporary = f"{path}.{uuid.uuid4().hex}"
    try:
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(text.encode(errors="surrogateescape"))
        tf.io.gfile.rename(temporary, path, overwrite=True)
    except tf.errors.OpError as error:
        raise _write_error(path, error) from error


def _write_error(path: str, error: tf.errors.OpError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({' '.join(error.message.split())}): fix the cause and run the "
        "same command again, which goes on where it stopped"
    )


def read_text(path: str) -> str:
    """Returns the text of a file, local or with an address that TensorFlow opens."""
    with tf.io.gfile.GFile(path, "r") as file:
        return file.read()
