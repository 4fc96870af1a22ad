"""Writes TensorBoard events."""

import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from perceiver import run_files
from perceiver.training.files import disk_errors

_FLUSH_SECONDS = 30.0


class EventWriter:
    """Writes scalars to a new event file.

    It writes in the calling thread, so that a failure raises there. tensorboardX's SummaryWriter
    writes in a thread that ends silently when the disk is full, and then blocks the run forever.
    Call `close` at the end.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int, suffix: str):
        """Opens a new file.

        Args:
          workdir: directory of the run.
          resume_step: step of the restored checkpoint. TensorBoard hides the events of later steps
            in earlier files; 0, a new run, hides all of them.
          suffix: end of the file's name, different from that of every other event file.

        Raises:
          OSError: the file cannot be written; the error names it.
        """
        self._path = str(Path(workdir) / run_files.EVENTS)
        self._since = 0.0
        with disk_errors(self._path):
            self._file = EventsWriter(self._path, suffix)
        first = resume_step + 1 if resume_step else 0
        self._write(Event(step=first, session_log=SessionLog(status=SessionLog.START)))

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Writes one number; it reaches the disk within half a minute.

        Raises:
          OSError: the file cannot be written; the error names it.
        """
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        self._write(Event(step=step, summary=summary))

    def close(self) -> None:
        """Flushes and closes the file; may be called again.

        Raises:
          OSError: the file cannot be written; the error names it.
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
