"""How long a run took and how fast it was, read from the TensorBoard events that it wrote.

`metrics.jsonl` is the same for the same config and seed, and so has no times; events do.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

_SPEED = "speed/seconds_per_step"  # as `MetricLog.write_speed` tags what `Progress` measured


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
