"""Turns lists or folders of clips into a TFDS data set, on this machine or on a cluster.

AudioSet (Sec. 4.2) has 2 million segments: days of decoding, terabytes of frames. The unit of work
is a shard (see `shards`). Apache Beam hands the numbers of the shards to the cores of this machine
or to the workers of a cluster. No record passes through Beam, so nothing is shuffled or repeated.
"""

import collections
import concurrent.futures
import csv
import dataclasses
import functools
import io
import math
import os
from collections.abc import Callable, Iterable, Sequence

from perceiver.data import class_folders
from perceiver.data.clips.preparation import audioset_lists, metadata
from perceiver.data.clips.preparation.decoder_process import ListedClip, closing_idle_decoders
from perceiver.data.clips.preparation.decoding import NEEDS
from perceiver.data.clips.preparation.plan import SplitPlan, digest
from perceiver.data.clips.preparation.runners import Runner, show_progress
from perceiver.data.clips.preparation.shards import (
    PARTIAL,
    SplitShards,
    read_report,
    write_atomically,
)
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# The files of a folder of clips.
CLIP_FILES = class_folders.FileKind("sound or video files", audioset_lists.SUFFIXES)

_READERS = 32  # reports read at once: a bucket answers slowly


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """The outcome of the preparation of a split.

    Attributes:
      split: name of the split.
      listed: number of listed clips.
      found: number of listed clips that have a file.
      decoded: number of clips in the data set.
      longer: number of clips in the data set whose file continues after their end.
      failed: number of failed clips with a file, by reason.
      failures: path of the CSV file with the id, file and reason of each missing or failed clip.
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
            lines.append(f"  {self.longer:,} continue in their file; only the beginning is used")
        if self.decoded < self.listed:
            lines.append(f"  each by name: {self.failures}")
        return "\n".join(lines)


@closing_idle_decoders()
def prepare_audioset(
    lists: Sequence[str],
    classes: str | None,
    clips: str,
    out: str,
    *,
    split: str | None = None,
    need: str = "both",
    seconds: float = 10.0,
    num_shards: int | None = None,
    runner: Runner,
    on_report: Callable[[SplitReport], None] = lambda report: None,
) -> list[SplitReport]:
    """Prepares the clips of segment lists.

    A preparation that was started with the same arguments is resumed, with the files found then.

    Args:
      lists: paths of the segment lists; each makes one split, named after the list.
      classes: path of `class_labels_indices.csv`; None for the one in the folder of the first list.
      clips: folder with the clips, at any depth; see `audioset_lists.find` for their names.
      out: folder of the data set; splits can be added to it.
      split: name of a single split for the segments of all lists.
      need: streams that a clip must have: 'sound', 'video' or 'both'; other streams are left out.
        With 'any', all existing streams.
      seconds: longest duration of a clip.
      num_shards: number of files per split; None for a few hundred megabytes per file.
      runner: runs the work: `runners.beam_runner(...)` or `runners.run_in_threads`.
      on_report: called with the report of each split once it is prepared.

    Returns:
      A report for each split.

    Raises:
      InputError: an argument or list is wrong, no clip of a list is found or can be decoded, `out`
        was started with other arguments, or it cannot be written.
    """
    _check(need, seconds, num_shards)
    indices, names = audioset_lists.read_classes(
        audioset_lists.find_classes(lists[0]) if classes is None else classes
    )
    lists_of_splits: dict[str, list[str]] = {}
    for path in lists:
        name = split or audioset_lists.split_name(path)
        lists_of_splits.setdefault(name, []).append(path)
    files, reports = None, []
    for name, paths in lists_of_splits.items():
        segments: dict[str, audioset_lists.Segment] = {}
        for path in paths:
            segments |= {s.id: s for s in audioset_lists.read_segments(path, indices)}
        arguments: dict[str, str | float] = {
            "segments": digest(repr(sorted(map(dataclasses.astuple, segments.values())))),
            "seconds": seconds,
            "need": need,
        }
        plan = SplitPlan(out, name, arguments, names, clips, num_shards)
        if not plan.resume():
            files = audioset_lists.scan(clips) if files is None else files
            found, missing = _find_clips(segments.values(), files, seconds, need)
            if not found:
                raise InputError(
                    f"{clips}: has none of the {len(segments):,} clips of {', '.join(paths)}, at "
                    f"any depth: a clip must be called like {next(iter(segments))}.mp4"
                )
            plan.start(found, missing)
        reports.append(_execute(plan, runner, on_report))
    return reports


@closing_idle_decoders()
def prepare_folder(
    dir: str,
    out: str,
    *,
    val_fraction: float,
    split_seed: int,
    need: str = "any",
    seconds: float = 10.0,
    num_shards: int | None = None,
    runner: Runner,
    on_report: Callable[[SplitReport], None] = lambda report: None,
) -> list[SplitReport]:
    """Prepares a folder of classes of sound or video files, as the splits 'train' and 'val'.

    Args:
      dir: the folder; see `class_folders.find` for its layout.
      out: folder of the data set.
      val_fraction: share of the files to hold out if `dir` has no folders train and val.
      split_seed: seed that decides which files are held out.
      need: streams that a clip must have; see `prepare_audioset`.
      seconds: longest duration of a clip.
      num_shards: number of files per split; None for a few hundred megabytes per file.
      runner: runs the work; see `prepare_audioset`.
      on_report: called with the report of each split once it is prepared.

    Returns:
      A report for each split.

    Raises:
      InputError: see `prepare_audioset`; or the folder has no classes.
    """
    _check(need, seconds, num_shards)
    splits = class_folders.find(dir, CLIP_FILES, val_fraction, split_seed)
    names, reports = list(splits[0]), []
    for name, files in zip(("train", "val"), splits, strict=True):
        clips = [
            ListedClip(path, path, (label,), 0.0, seconds, trimmed=True)
            for label, paths in enumerate(files.values())
            for path in sorted(os.path.relpath(path, dir) for path in paths)
        ]
        arguments: dict[str, str | float] = {
            "files": digest(repr([clip.path for clip in clips])),
            "seconds": seconds,
            "need": need,
        }
        plan = SplitPlan(out, name, arguments, names, dir, num_shards)
        if not plan.resume():
            plan.start(clips, missing=[])
        reports.append(_execute(plan, runner, on_report))
    return reports


def _check(need: str, seconds: float, num_shards: int | None) -> None:
    if need not in NEEDS:
        raise InputError(f"need is {need!r}: give one of {', '.join(NEEDS)}")
    if not 0 < seconds < math.inf:
        raise InputError(f"seconds is {seconds}: give a length above 0")
    if num_shards is not None and not 0 < num_shards < 100_000:
        raise InputError(f"shards is {num_shards}: give a number from 1 to 99,999")


def _find_clips(
    segments: Iterable[audioset_lists.Segment],
    files: audioset_lists.Files,
    seconds: float,
    need: str,
) -> tuple[list[ListedClip], list[str]]:
    """Returns the clips that have a file, and the ids of the segments that have none."""
    clips, missing = [], []
    for segment in segments:
        # Many people keep the sound of a video in a separate file as well.
        file = audioset_lists.find(segment, files, prefer_video=need != "sound")
        if file is None:
            missing.append(segment.id)
        else:
            path, trimmed = file
            longest = min(seconds, segment.end - segment.start)
            clips.append(
                ListedClip(segment.id, path, segment.labels, segment.start, longest, trimmed)
            )
    return clips, missing


def _execute(
    plan: SplitPlan, runner: Runner, on_report: Callable[[SplitReport], None]
) -> SplitReport:
    """Writes the shards that do not exist yet, then the failures and the TFDS metadata."""
    split = plan.split
    shard_reports = _write_shards(split, runner)
    failures = [failure for report in shard_reports for failure in report["failures"]]
    failures_path = _write_failures(plan, failures)
    lengths = [len(report["ids"]) for report in shard_reports]
    if not sum(lengths):
        _, first, reason = failures[0]
        raise InputError(
            f"{split.clips_dir}: none of {len(failures):,} clips can be decoded, see "
            f"{failures_path}; the first, {first}: {reason}"
        )
    partial = os.path.join(split.folder, PARTIAL)
    if tf.io.gfile.exists(partial):
        tf.io.gfile.rmtree(partial)
    metadata.add_split(split, lengths, sum(report["bytes"] for report in shard_reports))
    reasons = collections.Counter(reason.split(":")[0] for _, _, reason in failures)
    report = SplitReport(
        split=split.name,
        listed=plan.num_listed,
        found=plan.num_listed - len(plan.missing),
        decoded=sum(lengths),
        longer=sum(report["longer"] for report in shard_reports),
        failed=dict(reasons.most_common()),
        failures=failures_path,
    )
    on_report(report)
    return report


def _write_shards(split: SplitShards, runner: Runner) -> list[dict]:
    """Writes the shards that do not exist yet, and returns the reports of all shards."""
    numbers = range(split.num_shards)
    read = functools.partial(read_report, split)
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        todo = [n for n, report in zip(numbers, pool.map(read, numbers), strict=True) if not report]
        if todo:
            with show_progress(split, todo):
                runner(split, todo)
        reports = list(pool.map(read, numbers))
    absent = [n for n, report in zip(numbers, reports, strict=True) if report is None]
    if absent:
        raise InputError(
            f"{split.records_path(absent[0])}: missing after the work, and {len(absent) - 1} other "
            "files: run the same command again, which goes on where it stopped"
        )
    return [report for report in reports if report is not None]


def _write_failures(plan: SplitPlan, failures: Sequence[list[str]]) -> str:
    """Writes failures.csv with the failed and the missing clips, and returns its path."""
    path = os.path.join(plan.split.folder, "failures.csv")
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("id", "file", "reason"))
    rows.writerows(sorted(failures))
    rows.writerows((id, "", "no file") for id in sorted(plan.missing))
    write_atomically(path, table.getvalue())
    return path
