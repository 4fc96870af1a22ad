"""Decoding in a process of its own, so that a clip that crashes FFmpeg, or never ends, is just one.

Among two million files from the net there are some that do. The process takes a clip at a time:

    request: a line of JSON, the fields of the clip, the folder of clips, and what is wanted
    answer: a line of JSON, `{"size": ..., "longer": ...}` and as many bytes of record, or
        `{"reason": ...}`
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

from perceiver.data.clips import schema
from perceiver.data.clips.preparation import decoding
from perceiver.data.clips.preparation.decoding import ClipError

# Far more than any clip takes, on a busy machine and from a slow disk.
_SECONDS = 600

# A file that is the segment already may be a little longer than it, and a whole video may end a
# little before the segment does, by the lists.
_LONGER = 1.0
_SHORTER = 0.5


@dataclasses.dataclass(frozen=True)
class Listed:
    """A clip to be decoded.

    Attributes:
      id: its name in the data set.
      path: its file, below the folder of clips.
      labels: indices of its classes.
      start: where it begins in its video, in seconds.
      seconds: the longest that it may be.
      cut: whether the file begins with the clip; if not, it may be the whole video.
    """

    id: str
    path: str
    labels: tuple[int, ...]
    start: float
    seconds: float
    cut: bool


class Decoder:
    """A process that decodes clips, one at a time; it ends with the process that started it."""

    def __init__(self, seconds: float = _SECONDS):
        self._seconds = seconds  # the longest that a clip may take
        self._process: subprocess.Popen | None = None

    def record(self, listed: Listed, clips: str, want: str) -> tuple[bytes, bool]:
        """Decodes a clip.

        Args:
          listed: the clip.
          clips: the folder that its path is below.
          want: what it must have, as in `decoding.decode`.

        Returns:
          (its record, whether the file is more of it than was kept).

        Raises:
          ClipError: as `decoding.decode` says, or the process crashed or took too long.
        """
        if self._process is None:
            self._start()
        process, late = self._process, threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._seconds, stop)
        timer.start()
        try:
            request = json.dumps([dataclasses.astuple(listed), clips, want])
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or "null")
            record = process.stdout.read(answer.get("size", 0)) if answer else b""
        except BrokenPipeError:
            answer = None
        finally:
            timer.cancel()
        if answer is None or len(record) < answer.get("size", 0):
            self.close()
            raise ClipError(f"crash: {_cause(process.returncode, late.is_set(), self._seconds)}")
        if "reason" in answer:
            raise ClipError(answer["reason"])
        return record, answer["longer"]

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):  # what it died of is known
                self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def _start(self) -> None:
        command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C ends the process that waits for this one, and this one with it.
            start_new_session=True,
        )
        if not self._process.stdout.readline():
            self.close()
            raise RuntimeError("the process that decodes clips cannot start; see the lines above")


def _cause(status: int, late: bool, seconds: float) -> str:
    if late:
        return f"decoding takes more than {seconds:.0f} s"
    if status < 0:
        return f"decoding ends with {signal.Signals(-status).name}"
    return f"decoding ends with status {status}"


_idle: list[Decoder] = []


@contextlib.contextmanager
def decoder() -> Iterator[Decoder]:
    """A decoder for a while; it is kept for the next who asks, as starting one takes seconds."""
    try:
        taken = _idle.pop()
    except IndexError:
        taken = Decoder()
    try:
        yield taken
    except BaseException:
        taken.close()
        raise
    _idle.append(taken)


def close_idle() -> None:
    """Ends the processes that nobody uses."""
    while _idle:
        _idle.pop().close()


@contextlib.contextmanager
def idle_closed() -> Iterator[None]:
    """Ends the processes that nobody uses, in the end, whatever happens before."""
    try:
        yield
    finally:
        close_idle()


def serve() -> None:
    """Answers requests until there are no more: what the process does."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not come between the answers
    answers.write(b"ready\n")
    answers.flush()
    for request in sys.stdin.buffer:
        fields, clips, want = json.loads(request)
        try:
            record, longer = _record(Listed(*fields), clips, want)
            answer = {"size": len(record), "longer": longer}
        except ClipError as error:
            record, answer = b"", {"reason": str(error)}
        try:
            answers.write(json.dumps(answer).encode() + b"\n" + record)
            answers.flush()
        except BrokenPipeError:
            os._exit(0)  # whoever asked has been killed


def _record(listed: Listed, clips: str, want: str) -> tuple[bytes, bool]:
    path = os.path.join(clips, listed.path)
    start = 0.0
    if not listed.cut:
        length, end = decoding.length(path), listed.start + listed.seconds
        if length >= end - _SHORTER:
            start = listed.start
        elif length > listed.seconds + _LONGER:
            raise ClipError(
                f"wrong length: it lasts {length:.1f} s, which is neither the whole video, of "
                f"{end:.1f} s or more, nor its segment of {listed.seconds:.1f} s"
            )
    clip = decoding.decode(path, want=want, seconds=listed.seconds, start=start)
    record = schema.serialize(listed.id, listed.start, listed.labels, clip.frames, clip.sound)
    return record, clip.longer and listed.cut
