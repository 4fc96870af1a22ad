"""From a sound or video file to a clip: frames at 25 a second, sound at 48 kHz, begun together.

Sec. 4.2 reads frames and sound in step. Both are therefore placed by the timestamps that the file
gives them, on one time line that begins with the file, or with the wanted part of it: frame k is
what a player would show k / 25 s after the beginning, and sample n what it would play after
n / 48,000 s.

The file's kind is told from its content, never from its name.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np

from perceiver.data.clips.preparation.media_streams import EPSILON, Frames, Sound, Stream
from perceiver.data.errors import reason
from perceiver.data.tensorflow_cpu import tf

JPEG_QUALITY = 90
WANTS = ("sound", "video", "both", "any")

# What FFmpeg may take a file for. Its other formats are mostly lists of further files, or of
# addresses, which a file from the net could have opened here.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegvideo,mpegts,avi,flv,asf,ogg,wav,w64,flac,mp3,"
    "aac,ac3,eac3,aiff,au,caf,amr"
)
# Formats whose header gives the length, so that one cut short can be told. (AVI's does too, but
# FFmpeg shortens it in proportion to the file.)
_STATED_LENGTH = {"mov", "matroska", "flac"}

_CUT_SHORT = 0.5  # seconds that may be missing at the end


class ClipError(Exception):
    """A file that gives no clip; the message is the reason, its kind before the first colon."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """The content of a clip.

    Attributes:
      frames: JPEG files, 25 a second, short side 256; empty without video.
      sound: int16 [samples] at 48 kHz, one channel; empty without sound.
      longer: whether the file goes on after the end of the clip.
    """

    frames: list[bytes]
    sound: np.ndarray
    longer: bool


def decode(path: str, *, want: str, seconds: float, start: float = 0.0) -> Clip:
    """Decodes up to `seconds` of a file.

    What begins late is filled: the first frame is shown from the beginning on, and the sound is
    silent until it begins. A packet that can't be decoded leaves the frame before it standing and
    its sound silent, as long as there are few of them.

    Args:
      path: the file, local or with an address that TensorFlow opens (`gs://...`).
      want: what the clip must have, all else being left out: 'sound', 'video' or 'both'; with
        'any' whatever is there, which must be something.
      seconds: the longest that the clip may be.
      start: where in the file to begin, in seconds.

    Returns:
      The clip; it is shorter than `seconds` where the file ends before.

    Raises:
      ClipError: the file is empty, not sound or video, damaged or cut short, has nothing at
        `start`, or lacks what is wanted.
    """
    with _opened(path) as container:
        video, audio = _streams(container, want)
        decoders = []
        if video is not None:
            decoders.append(Frames(video, start, seconds, JPEG_QUALITY))
        if audio is not None:
            decoders.append(Sound(audio, start, seconds))
        others = _read(container, decoders, start)
        stated = _stated_end(container)
        for decoder in decoders:
            if decoder.damage:
                raise ClipError(f"damaged: {decoder.damage}")
        ended = max(decoder.end for decoder in decoders)
        end = min(stated, start + seconds)
        there = max(ended, others)  # what is not wanted may last longer
        if math.isfinite(stated) and end - max(there, start) > _CUT_SHORT:
            raise ClipError(
                f"cut short: it should last until {stated:.1f} s but ends at {there:.1f} s"
            )
        if ended <= start + EPSILON:
            raise ClipError(
                f"ends too early: at {ended:.1f} s, the clip would begin at {start:.1f} s"
            )
        frames = next((d.jpegs() for d in decoders if isinstance(d, Frames)), [])
        sound = next((d.samples() for d in decoders if isinstance(d, Sound)), np.zeros(0, np.int16))
        for kind, content in (("video", frames), ("sound", sound)):
            if want in (kind, "both") and not len(content):
                raise ClipError(f"no {kind}: its stream has nothing after {start:.1f} s")
        whole = ended if container.duration is None else container.duration / av.time_base
        return Clip(frames, sound, longer=whole > start + seconds + _CUT_SHORT)


def length(path: str) -> float:
    """The length that a file states, in seconds; infinite where it states none.

    Raises:
      ClipError: the file is empty or not sound or video.
    """
    with _opened(path) as container:
        return math.inf if container.duration is None else container.duration / av.time_base


def _file(path: str) -> BinaryIO:
    return tf.io.gfile.GFile(path, "rb") if "://" in path else open(path, "rb")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[av.container.InputContainer]:
    """The container of a file; FFmpeg sees its bytes alone, neither its name nor other files."""
    try:
        file = _file(path)
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror}") from error
    with file:
        try:
            if not file.read(1):
                raise ClipError("empty file")
            file.seek(0)
            container = av.open(
                file, metadata_errors="replace", options={"format_whitelist": _FORMATS}
            )
        except av.error.FFmpegError as error:
            raise ClipError("not a whole sound or video file: it cannot be opened") from error
        except (OSError, tf.errors.OpError) as error:
            raise ClipError(f"cannot be read: {reason(error)}") from error
        with container:
            yield container


def _streams(
    container: av.container.InputContainer, want: str
) -> tuple[av.VideoStream | None, av.AudioStream | None]:
    """The video and the sound to decode, None for what is not there or not wanted."""
    picture = av.stream.Disposition.attached_pic  # the cover of an album
    videos = [s for s in container.streams.video if not s.disposition & picture]
    video = videos[0] if videos and want != "sound" else None
    audio = container.streams.best("audio") if want != "video" else None
    if video is None and audio is None and want == "any":
        raise ClipError("no video and no sound: the file has no stream of either")
    if video is None and want in ("video", "both"):
        raise ClipError("no video: the file has no such stream")
    if audio is None and want in ("sound", "both"):
        raise ClipError("no sound: the file has no such stream")
    for stream in (video, audio):
        if stream is not None and stream.codec_context is None:
            raise ClipError(f"no decoder: FFmpeg does not know the format of its {stream.type}")
    return video, audio


def _stated_end(container: av.container.InputContainer) -> float:
    """When the file says that it ends, in seconds from its beginning; infinite if it doesn't."""
    stated = container.duration is not None and set(container.format.name.split(",")) & (
        _STATED_LENGTH
    )
    return container.duration / av.time_base if stated else math.inf


def _read(container: av.container.InputContainer, decoders: list[Stream], start: float) -> float:
    """Gives the packets of the file to their decoders, until all have what they need.

    Returns:
      When the packets that were met and that no decoder takes end, in seconds.
    """
    # Sound alone is decoded from the beginning: that is quick, and positions within an MP3 file
    # are guesses.
    jump = start > 0 and any(isinstance(decoder, Frames) for decoder in decoders)
    others = _read_from(container, decoders, start if jump else None)
    if jump and any(decoder.began_late for decoder in decoders):
        for decoder in decoders:
            decoder.reset()
        others = _read_from(container, decoders, 0.0)
    return others


def _read_from(
    container: av.container.InputContainer,
    decoders: list[Stream],
    position: float | None,
) -> float:
    """Decodes from the last key frame before `position` on, or for None from where the file is."""
    origin = (container.start_time or 0) / av.time_base
    by_stream = {decoder.stream.index: decoder for decoder in decoders}
    others = 0.0
    try:
        if position is not None:
            container.seek(round((position + origin) * av.time_base), backward=True)
        for packet in container.demux(*container.streams.video, *container.streams.audio):
            decoder = by_stream.get(packet.stream.index)
            if decoder is None:
                if packet.pts is not None:
                    end = packet.pts + (packet.duration or 0)
                    others = max(others, float(end * packet.time_base) - origin)
            elif not decoder.done:
                decoder.packet(packet, origin)
            elif all(decoder.done for decoder in decoders):
                break
    except av.error.FFmpegError as error:
        raise ClipError(f"damaged: {error.strerror}") from error
    return others
