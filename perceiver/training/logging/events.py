"""TensorBoard events: written by a run, and read for how long it took and how fast it was.

`metrics.jsonl` is the same for the same config and seed, and so has no times; events do.
"""

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from perceiver.training.files import disk_errors

_FLUSH_SECONDS = 30.0
_SPEED = "speed/seconds_per_step"  # as `MetricLog.write_speed` tags what `Progress` measured


class EventWriter:
    """Writes scalars to an event file of its own.

    It does so in the thread that calls, which hears at once where that fails. tensorboardX's own
    writer has a thread that ends without a word on a full disk, and then makes the run wait for
    ever. Use `close` at the end.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int, suffix: str):
        """Opens a new file.

        Args:
          workdir: the directory of the run.
          resume_step: TensorBoard hides the events of later steps that earlier files have; for 0,
            a new run, all of them.
          suffix: of the file's name, unlike that of any other.

        Raises:
          OSError: the file can't be written; it is named.
        """
        self._path = str(Path(workdir) / "events")
        self._since = 0.0
        with disk_errors(self._path):
            self._file = EventsWriter(self._path, suffix)
        first = resume_step + 1 if resume_step else 0
        self._write(Event(step=first, session_log=SessionLog(status=SessionLog.START)))

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Writes one number; it is on the disk half a minute later.

        Raises:
          OSError: the file can't be written; it is named.
        """
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        self._write(Event(step=step, summary=summary))

    def close(self) -> None:
        """Brings everything to the disk; may be called again.

        Raises:
          OSError: the file can't be written; it is named.
        """
        if self._file:
            file, self._file = self._file, None
            with disk_errors(self._path):
                file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        with disk_errors(self._path):
            self._file.write_event(event)
            if event.wall_time > self._since + _FLUSH_SECONDS:
                self._since = event.wall_time
                self._file.flush()


class Speed(NamedTuple):
    """A run's time; None where its events do not tell.

    Attributes:
      seconds: from the first to the last event of each process of the run, one after another,
        summed: with evaluations and compiling, without imports and the time between processes.
      seconds_per_step: the median over log steps.
    """

    seconds: float | None
    seconds_per_step: float | None


def read_speed(workdir: str | Path) -> Speed:
    """Reads all event files of a run.

    An event that is cut short or damaged ends its file, as it does for TensorBoard: the last of a
    run that was killed, or is running, often is.

    Args:
      workdir: the directory of the run.

    Raises:
      OSError: an event file can't be read.
    """
    spans, per_step = [], []
    for file in sorted(Path(workdir).glob("events.out.tfevents.*")):
        times = []
        for event in _events(file.read_bytes()):
            times.append(event.wall_time)
            per_step += [x.simple_value for x in event.summary.value if x.tag == _SPEED]
        if len(times) > 1:
            spans.append(max(times) - min(times))
    return Speed(sum(spans) if spans else None, median(per_step) if per_step else None)


def _events(data: bytes) -> Iterator[Event]:
    """The events of a file of TFRecords: length, its checksum, the event, its checksum."""
    start = 0
    while len(data) - start >= 12:
        header = data[start : start + 8]
        (length,) = struct.unpack("<Q", header)
        (checksum,) = struct.unpack_from("<I", data, start + 8)
        end = start + 12 + length
        if checksum != masked_crc32c(header) or end + 4 > len(data):
            return
        content = data[start + 12 : end]
        if struct.unpack_from("<I", data, end)[0] != masked_crc32c(content):
            return
        yield Event.FromString(content)
        start = end + 4
