"""Decodes clips in a separate process, so that a file that crashes or hangs FFmpeg costs one clip.

A few of AudioSet's two million files do. The process handles one clip at a time:

    request: one line of JSON: the fields of the clip, the folder of clips, and the needed streams
    response: one line of JSON: `{"size": ..., "longer": ...}`, followed by the record of that many
        bytes, or `{"reason": ...}`
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
from typing import IO

from perceiver.data.clips import schema
from perceiver.data.clips.preparation import decoding
from perceiver.data.clips.preparation.decoding import ClipError

# Far longer than any clip takes, even on a busy machine with a slow disk.
_TIMEOUT = 600  # seconds

# A file that is already trimmed may be slightly longer than the segment, and a whole video may end
# slightly before the end of the segment in the list.
_MAX_LONGER = 1.0  # seconds
_MAX_SHORTER = 0.5


@dataclasses.dataclass(frozen=True)
class ListedClip:
    """A clip in the list of a shard.

    Attributes:
      id: name of the clip in the data set.
      path: path of its file below the folder of clips.
      labels: indices of its classes.
      start: start of the clip in its video, in seconds.
      seconds: longest duration of the clip.
      trimmed: True if the file begins with the clip; if False, it may also be the whole video.
    """

    id: str
    path: str
    labels: tuple[int, ...]
    start: float
    seconds: float
    trimmed: bool


class DecoderProcess:
    """A process that decodes one clip at a time; it ends with the process that started it."""

    def __init__(self, timeout: float = _TIMEOUT):
        """Sets the longest time per clip, in seconds; the process starts with the first clip."""
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, clip: ListedClip, clips_dir: str, need: str) -> tuple[bytes, bool]:
        """Decodes a clip to its record.

        Args:
          clip: the clip.
          clips_dir: folder that contains `clip.path`.
          need: streams that the clip must have, as in `decoding.decode`.

        Returns:
          (the record, True if the file continues after the end of the clip).

        Raises:
          ClipError: see `decoding.decode`; or the process crashed or took too long.
        """
        process = self._start() if self._process is None else self._process
        requests, responses = _pipes(process)
        timed_out = threading.Event()

        def stop() -> None:
            timed_out.set()
            process.kill()

        timer = threading.Timer(self._timeout, stop)
        timer.start()
        record = b""
        try:
            request = json.dumps([dataclasses.astuple(clip), clips_dir, need])
            requests.write(request.encode() + b"\n")
            requests.flush()
            response = json.loads(responses.readline() or "null")
            record = responses.read(response.get("size", 0)) if response else b""
        except BrokenPipeError:
            response = None
        finally:
            timer.cancel()
        if response is None or len(record) < response.get("size", 0):
            self.close()
            cause = _crash_cause(process.returncode, timed_out.is_set(), self._timeout)
            raise ClipError(f"crash: {cause}")
        if "reason" in response:
            raise ClipError(response["reason"])
        return record, response["longer"]

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            requests, responses = _pipes(self._process)
            with contextlib.suppress(BrokenPipeError):  # the process has ended already
                requests.close()
            self._process.wait()
            responses.close()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
        process = self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C must reach the parent only; the decoder ends when its input is closed.
            start_new_session=True,
        )
        if not _pipes(process)[1].readline():
            self.close()
            raise RuntimeError("the process that decodes clips cannot start; see the lines above")
        return process


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """Returns the pipes for requests and for responses."""
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def _crash_cause(status: int, timed_out: bool, timeout: float) -> str:
    if timed_out:
        return f"decoding takes more than {timeout:.0f} s"
    if status < 0:
        return f"decoding ends with {signal.Signals(-status).name}"
    return f"decoding ends with status {status}"


_idle: list[DecoderProcess] = []


@contextlib.contextmanager
def borrow_decoder() -> Iterator[DecoderProcess]:
    """Lends a decoder and keeps it for the next borrower, because starting one takes seconds."""
    try:
        decoder = _idle.pop()
    except IndexError:
        decoder = DecoderProcess()
    try:
        yield decoder
    except BaseException:
        decoder.close()
        raise
    _idle.append(decoder)


def close_idle_decoders() -> None:
    """Ends the decoders that nobody has borrowed."""
    while _idle:
        _idle.pop().close()


@contextlib.contextmanager
def closing_idle_decoders() -> Iterator[None]:
    """Ends the idle decoders when the context, or the decorated function, ends or raises."""
    try:
        yield
    finally:
        close_idle_decoders()


def serve() -> None:
    """Runs in the decoder process: answers requests on stdin until it is closed."""
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output that a library prints must not come between the responses
    responses.write(b"ready\n")
    responses.flush()
    for request in sys.stdin.buffer:
        fields, clips_dir, need = json.loads(request)
        try:
            record, longer = _make_record(ListedClip(*fields), clips_dir, need)
            response = {"size": len(record), "longer": longer}
        except ClipError as error:
            record, response = b"", {"reason": str(error)}
        try:
            responses.write(json.dumps(response).encode() + b"\n" + record)
            responses.flush()
        except BrokenPipeError:
            os._exit(0)  # the parent was killed


def _make_record(clip: ListedClip, clips_dir: str, need: str) -> tuple[bytes, bool]:
    """Returns the record of a clip, and True if a trimmed file continues after its end."""
    path = os.path.join(clips_dir, clip.path)
    start = 0.0
    if not clip.trimmed:
        duration, end = decoding.stated_duration(path), clip.start + clip.seconds
        if duration >= end - _MAX_SHORTER:
            start = clip.start
        elif duration > clip.seconds + _MAX_LONGER:
            raise ClipError(
                f"wrong length: it lasts {duration:.1f} s, which is neither the whole video, of "
                f"{end:.1f} s or more, nor its segment of {clip.seconds:.1f} s"
            )
    decoded = decoding.decode(path, need=need, seconds=clip.seconds, start=start)
    record = schema.serialize(clip.id, clip.start, clip.labels, decoded.frames, decoded.sound)
    return record, decoded.longer and clip.trimmed
