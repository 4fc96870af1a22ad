"""Decodes a sound or video file to a clip: frames at 25 per second and sound at 48 kHz, in step.

Sec. 4.2 reads frames and sound in step. Both are therefore placed by the timestamps of the file on
one time line, which begins with the file or with the requested segment. Frame k is the frame that a
player would show k / 25 s after the beginning, and sample n is the sample that it would play after
n / 48,000 s.

FFmpeg detects the format of a file from its content, never from its name.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np

from perceiver.data.clips.preparation.media_streams import (
    EPSILON,
    FrameDecoder,
    SoundDecoder,
    StreamDecoder,
)
from perceiver.data.errors import reason
from perceiver.data.tensorflow_cpu import tf

JPEG_QUALITY = 90
NEEDS = ("sound", "video", "both", "any")

# Formats that FFmpeg may detect. Most of its other formats are lists of further files or addresses,
# and a file from the internet could make FFmpeg open them on this machine.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegvideo,mpegts,avi,flv,asf,ogg,wav,w64,flac,mp3,"
    "aac,ac3,eac3,aiff,au,caf,amr"
)
# Formats whose header gives the duration, so that a truncated file can be detected. (The header of
# AVI does too, but FFmpeg shortens the duration in proportion to the size of the file.)
_STATED_DURATION = {"mov", "matroska", "flac"}

_MAX_CUT = 0.5  # seconds that may be missing at the end


class ClipError(Exception):
    """A file cannot be decoded; the message is the reason, with its kind before the colon."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """The content of a clip.

    Attributes:
      frames: JPEG files, 25 per second, short side 256; empty without video.
      sound: int16 [samples] at 48 kHz, one channel; empty without sound.
      longer: True if the file continues after the end of the clip.
    """

    frames: list[bytes]
    sound: np.ndarray
    longer: bool


def decode(path: str, *, need: str, seconds: float, start: float = 0.0) -> Clip:
    """Decodes up to `seconds` of a file.

    A stream that begins late is filled: the first frame is repeated from the beginning on, and the
    sound is silent until it begins. If a packet cannot be decoded, the frame before it is repeated
    and its sound is silent, unless too many packets are damaged.

    Args:
      path: the file, local or with an address that TensorFlow opens (`gs://...`).
      need: streams that the clip must have: 'sound', 'video' or 'both'; other streams are left out.
        With 'any', all existing streams, at least one.
      seconds: longest duration of the clip.
      start: time in the file at which the clip begins, in seconds.

    Returns:
      The clip; it is shorter than `seconds` if the file ends earlier.

    Raises:
      ClipError: the file is empty, not sound or video, damaged or cut short, has nothing at
        `start`, or lacks a needed stream.
    """
    with _opened(path) as container:
        video, audio = _choose_streams(container, need)
        decoders: list[StreamDecoder] = []
        if video is not None:
            decoders.append(FrameDecoder(video, start, seconds, JPEG_QUALITY))
        if audio is not None:
            decoders.append(SoundDecoder(audio, start, seconds))
        end_of_others = _read(container, decoders, start)
        decoded_end = _check_decoded(container, decoders, end_of_others)
        frames, sound = [], np.zeros(0, np.int16)
        for decoder in decoders:
            if isinstance(decoder, FrameDecoder):
                frames = decoder.jpegs()
            elif isinstance(decoder, SoundDecoder):
                sound = decoder.samples()
        for kind, content in (("video", frames), ("sound", sound)):
            if need in (kind, "both") and not len(content):
                raise ClipError(f"no {kind}: its stream has nothing after {start:.1f} s")
        file_end = decoded_end if container.duration is None else _duration(container)
        return Clip(frames, sound, longer=file_end > start + seconds + _MAX_CUT)


def stated_duration(path: str) -> float:
    """Returns the duration that a file states, in seconds; infinity if it states none.

    Raises:
      ClipError: the file is empty or not sound or video.
    """
    with _opened(path) as container:
        return _duration(container)


def _duration(container: av.container.InputContainer) -> float:
    return math.inf if container.duration is None else container.duration / av.time_base


def _open_binary(path: str) -> BinaryIO:
    return tf.io.gfile.GFile(path, "rb") if "://" in path else open(path, "rb")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[av.container.InputContainer]:
    """Opens a file. FFmpeg gets only its bytes, without its name or access to other files."""
    try:
        file = _open_binary(path)
    except OSError as error:
        raise ClipError(f"cannot be read: {error.strerror}") from error
    with file:
        try:
            if not file.read(1):
                raise ClipError("empty file")
            file.seek(0)
            container = av.open(
                file, "r", metadata_errors="replace", options={"format_whitelist": _FORMATS}
            )
        except av.error.FFmpegError as error:
            raise ClipError("not a whole sound or video file: it cannot be opened") from error
        except (OSError, tf.errors.OpError) as error:
            raise ClipError(f"cannot be read: {reason(error)}") from error
        with container:
            yield container


def _choose_streams(
    container: av.container.InputContainer, need: str
) -> tuple[av.VideoStream | None, av.AudioStream | None]:
    """Returns the video and the sound stream to decode; None if absent or not needed."""
    picture = av.stream.Disposition.attached_pic  # the cover of an album
    videos = [s for s in container.streams.video if not s.disposition & picture]
    video = videos[0] if videos and need != "sound" else None
    audio = container.streams.best("audio") if need != "video" else None
    assert audio is None or isinstance(audio, av.AudioStream)
    if video is None and audio is None and need == "any":
        raise ClipError("no video and no sound: the file has no stream of either")
    if video is None and need in ("video", "both"):
        raise ClipError("no video: the file has no such stream")
    if audio is None and need in ("sound", "both"):
        raise ClipError("no sound: the file has no such stream")
    for stream in (video, audio):
        if stream is not None and stream.codec_context is None:
            raise ClipError(f"no decoder: FFmpeg does not know the format of its {stream.type}")
    return video, audio


def _check_decoded(
    container: av.container.InputContainer, decoders: list[StreamDecoder], end_of_others: float
) -> float:
    """Checks that the decoded streams are whole, and returns the time at which they end.

    Args:
      container: the file.
      decoders: decoders of the chosen streams, after all packets were read.
      end_of_others: the end of the streams that are not decoded, in seconds.

    Raises:
      ClipError: the streams are damaged, cut short, or end before the clip begins.
    """
    for decoder in decoders:
        if decoder.damage:
            raise ClipError(f"damaged: {decoder.damage}")
    start, seconds = decoders[0].start, decoders[0].seconds
    decoded_end = max(decoder.end for decoder in decoders)
    stated = _stated_end(container)
    present_end = max(decoded_end, end_of_others)  # a stream that is not needed may last longer
    if math.isfinite(stated) and min(stated, start + seconds) - max(present_end, start) > _MAX_CUT:
        raise ClipError(
            f"cut short: it should last until {stated:.1f} s but ends at {present_end:.1f} s"
        )
    if decoded_end <= start + EPSILON:
        raise ClipError(
            f"ends too early: at {decoded_end:.1f} s, the clip would begin at {start:.1f} s"
        )
    return decoded_end


def _stated_end(container: av.container.InputContainer) -> float:
    """Returns the end of the file by its header, in seconds; infinity if the header has none."""
    formats = set(container.format.name.split(","))
    return _duration(container) if formats & _STATED_DURATION else math.inf


def _read(
    container: av.container.InputContainer, decoders: list[StreamDecoder], start: float
) -> float:
    """Decodes the packets of the file until all decoders have what they need.

    Returns:
      The end of the packets that were read but not decoded, in seconds.
    """
    # Sound alone is decoded from the beginning: that is fast, and positions in an MP3 file are
    # guesses.
    seek = start > 0 and any(isinstance(decoder, FrameDecoder) for decoder in decoders)
    end_of_others = _read_from(container, decoders, start if seek else None)
    if seek and any(decoder.began_late for decoder in decoders):
        for decoder in decoders:
            decoder.reset()
        end_of_others = _read_from(container, decoders, 0.0)
    return end_of_others


def _read_from(
    container: av.container.InputContainer,
    decoders: list[StreamDecoder],
    position: float | None,
) -> float:
    """Decodes from the last key frame before `position`; from the current place if it is None."""
    origin = (container.start_time or 0) / av.time_base
    by_stream = {decoder.stream.index: decoder for decoder in decoders}
    end_of_others = 0.0
    try:
        if position is not None:
            container.seek(round((position + origin) * av.time_base), backward=True)
        for packet in container.demux(*container.streams.video, *container.streams.audio):
            decoder = by_stream.get(packet.stream.index)
            if decoder is None:
                if packet.pts is not None:
                    end = packet.pts + (packet.duration or 0)
                    end_of_others = max(end_of_others, float(end * packet.time_base) - origin)
            elif not decoder.done:
                decoder.decode_packet(packet, origin)
            elif all(decoder.done for decoder in decoders):
                break
    except av.error.FFmpegError as error:
        raise ClipError(f"damaged: {error.strerror}") from error
    return end_of_others
