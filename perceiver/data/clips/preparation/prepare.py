"""From lists or folders of clips to a TFDS data set, on this machine's cores or on a cluster.

AudioSet (Sec. 4.2) has 2 million segments: days of decoding, terabytes of frames. The unit of work
is a shard (see `shards`), which Apache Beam hands to the cores of this machine or to the workers
of a cluster; no record passes through Beam itself, so that nothing is ever shuffled or done again.
"""

import collections
import concurrent.futures
import csv
import dataclasses
import functools
import io
import math
import os
from collections.abc import Callable, Sequence

from perceiver.data import class_folders
from perceiver.data.clips.preparation import (
    audioset_lists,
    decoder_process,
    metadata,
    runners,
    shards,
)
from perceiver.data.clips.preparation.decoder_process import Listed
from perceiver.data.clips.preparation.decoding import WANTS
from perceiver.data.clips.preparation.plan import Plan, digest
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# What is in a folder of clips.
CLIP_FILES = class_folders.FileKind("sound or video files", audioset_lists.SUFFIXES)


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of a split.

    Attributes:
      split: its name.
      listed: how many clips were asked for.
      found: how many of them had a file.
      decoded: how many are in the data set.
      longer: how many of these are the beginning of something longer.
      failed: reason -> number of clips, for those found.
      failures: the CSV file that names each missing or failed clip, its file and the reason.
    """

    split: str
    listed: int
    found: int
    decoded: int
    longer: int
    failed: dict[str, int]
    failures: str

    def __str__(self) -> str:
        lines = [
            f"{self.split}: {self.listed:,} listed, {self.found:,} found, "
            f"{self.decoded:,} decoded, {self.found - self.decoded:,} failed"
        ]
        lines += [f"  {count:,} failed: {reason}" for reason, count in self.failed.items()]
        if self.longer:
            lines.append(f"  {self.longer:,} go on after what was kept of them")
        if self.decoded < self.listed:
            lines.append(f"  each by name: {self.failures}")
        return "\n".join(lines)


@decoder_process.idle_closed()
def prepare_audioset(
    lists: Sequence[str],
    classes: str | None,
    clips: str,
    out: str,
    *,
    split: str | None = None,
    want: str = "both",
    seconds: float = 10.0,
    num_shards: int | None = None,
    run: runners.Run,
    tell: Callable[[Report], None] = lambda report: None,
) -> list[Report]:
    """Prepares the clips of segment lists.

    What was begun before with the same arguments is gone on with, from the files found then.

    Args:
      lists: the segment lists; each makes a split of its own, named after it.
      classes: `class_labels_indices.csv`; None for the one beside the first list.
      clips: folder with the clips, at any depth; see `audioset_lists.find` for their names.
      out: folder of the data set; splits can be added to it.
      split: one name for the segments of all lists together.
      want: what a clip must have, all else being left out: 'sound', 'video' or 'both'; with 'any'
        whatever there is.
      seconds: the longest that a clip may be.
      num_shards: files of each split; None for a few hundred megabytes each.
      run: how to run the work, `runs.on_beam(...)` or `runs.in_threads`.
      tell: called with each report as soon as there is one.

    Returns:
      A report on each split.

    Raises:
      InputError: an argument or list is wrong, no clip of a list is found or can be decoded, `out`
        was begun with other arguments, or it cannot be written.
    """
    _check(want, seconds, num_shards)
    indices, names = audioset_lists.read_classes(
        audioset_lists.classes_beside(lists[0]) if classes is None else classes
    )
    splits: dict[str, list[str]] = {}
    for path in lists:
        splits.setdefault(split or audioset_lists.split_name(path), []).append(path)
    files, reports = None, []
    for name, paths in splits.items():
        segments = {}
        for path in paths:
            segments |= {s.id: s for s in audioset_lists.read_segments(path, indices)}
        asked = {
            "segments": digest(repr(sorted(map(dataclasses.astuple, segments.values())))),
            "seconds": seconds,
            "need": want,
        }
        plan = Plan(out, name, asked, names, clips, num_shards)
        if not plan.begun():
            files = audioset_lists.scan(clips) if files is None else files
            listed, missing = _look_up(segments.values(), files, seconds, want)
            if not listed:
                raise InputError(
                    f"{clips}: has none of the {len(segments):,} clips of {', '.join(paths)}, at "
                    f"any depth: a clip must be called like {next(iter(segments))}.mp4"
                )
            plan.begin(listed, missing)
        reports.append(_finish(plan, run, tell))
    return reports


@decoder_process.idle_closed()
def prepare_folder(
    dir: str,
    out: str,
    *,
    val_fraction: float,
    split_seed: int,
    want: str = "any",
    seconds: float = 10.0,
    num_shards: int | None = None,
    run: runners.Run,
    tell: Callable[[Report], None] = lambda report: None,
) -> list[Report]:
    """Prepares a folder of classes of sound or video files, as the splits 'train' and 'val'.

    Args:
      dir: the folder; see `class_folders.find` for its layout.
      out: folder of the data set.
      val_fraction: share to hold out where `dir` has no folders train and val.
      split_seed: decides which.
      want: as for `prepare_audioset`.
      seconds: likewise.
      num_shards: likewise.
      run: likewise.
      tell: likewise.

    Returns:
      A report on each split.

    Raises:
      InputError: as for `prepare_audioset`, or the folder has no classes.
    """
    _check(want, seconds, num_shards)
    found = class_folders.find(dir, CLIP_FILES, val_fraction, split_seed)
    names, reports = list(found[0]), []
    for name, files in zip(("train", "val"), found, strict=True):
        listed = [
            Listed(path, path, (label,), 0.0, seconds, cut=True)
            for label, paths in enumerate(files.values())
            for path in sorted(os.path.relpath(path, dir) for path in paths)
        ]
        asked = {
            "files": digest(repr([clip.path for clip in listed])),
            "seconds": seconds,
            "need": want,
        }
        plan = Plan(out, name, asked, names, dir, num_shards)
        if not plan.begun():
            plan.begin(listed, [])
        reports.append(_finish(plan, run, tell))
    return reports


def _check(want: str, seconds: float, num_shards: int | None) -> None:
    if want not in WANTS:
        raise InputError(f"need is {want!r}: give one of {', '.join(WANTS)}")
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds is {seconds}: give a length above 0")
    if num_shards is not None and not 0 < num_shards < 100_000:
        raise InputError(f"shards is {num_shards}: give a number from 1 to 99,999")


def _look_up(
    segments: Sequence[audioset_lists.Segment],
    files: audioset_lists.Files,
    seconds: float,
    want: str,
) -> tuple[list[Listed], list[str]]:
    """The clips that have a file, and the ids of those that have none."""
    listed, missing = [], []
    for segment in segments:
        # Many people have the sound beside the video as well.
        found = audioset_lists.find(segment, files, video=want != "sound")
        if found is None:
            missing.append(segment.id)
        else:
            path, cut = found
            longest = min(seconds, segment.end - segment.start)
            listed.append(Listed(segment.id, path, segment.labels, segment.start, longest, cut))
    return listed, missing


def _finish(plan: Plan, run: runners.Run, tell: Callable[[Report], None]) -> Report:
    """Writes the shards that are not there yet, then the report and the data set's description."""
    split = plan.split
    numbers = range(split.num_shards)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:  # a bucket answers slowly
        found = functools.partial(shards.report, split)
        todo = [n for n, done in zip(numbers, pool.map(found, numbers), strict=True) if not done]
        if todo:
            with runners.progress(split, todo):
                run(split, todo)
        done = list(pool.map(found, numbers))
    absent = [n for n, found in zip(numbers, done, strict=True) if found is None]
    if absent:
        raise InputError(
            f"{split.records(absent[0])}: missing after the work, with {len(absent) - 1} others: "
            "run the same command again, which goes on where it stopped"
        )
    failures = [failure for found in done for failure in found["failures"]]
    decoded = sum(len(found["ids"]) for found in done)
    path = os.path.join(shards.folder(split.out, split.name), "failures.csv")
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("id", "file", "reason"))
    rows.writerows(sorted(failures))
    rows.writerows((id, "", "no file") for id in sorted(plan.missing))
    shards.write_whole(path, table.getvalue())
    if not decoded:
        _, first, reason = failures[0]
        raise InputError(
            f"{split.clips}: none of {len(failures):,} clips can be decoded, see "
            f"{path}; the first, {first}: {reason}"
        )
    partial = os.path.join(shards.folder(split.out, split.name), shards.PARTIAL)
    if tf.io.gfile.exists(partial):
        tf.io.gfile.rmtree(partial)
    metadata.add_split(
        split, [len(found["ids"]) for found in done], sum(found["bytes"] for found in done)
    )
    reasons = collections.Counter(reason.split(":")[0] for _, _, reason in failures)
    report = Report(
        split=split.name,
        listed=plan.listed,
        found=plan.listed - len(plan.missing),
        decoded=decoded,
        longer=sum(found["longer"] for found in done),
        failed=dict(reasons.most_common()),
        failures=path,
    )
    tell(report)
    return report
