"""Decoders for the video stream and the sound stream of one clip.

Both place the output of FFmpeg on one time line, in seconds from the beginning of the file.
"""

import abc
import math
from typing import Any, Generic, TypeVar

import av
import numpy as np

from perceiver.data.clips.schema import FRAME_RATE, SAMPLE_RATE, SHORT_SIDE
from perceiver.data.tensorflow_cpu import tf

EPSILON = 0.001  # seconds: Matroska rounds its times to the millisecond
_GAP = 0.05  # seconds: a larger difference between stated and counted time is a gap in the sound
_MAX_DAMAGED = 0.05  # largest share of packets of a stream that may fail to decode


_Frame = TypeVar("_Frame", bound=av.frame.Frame)


class StreamDecoder(abc.ABC, Generic[_Frame]):
    """Decodes one stream of a file for a clip of `seconds` that begins at `start`.

    Attributes:
      end: end of the decoded content, in seconds from the beginning of the file.
      done: True once the stream has been decoded to the end of the clip.
    """

    def __init__(self, stream: av.stream.Stream, start: float, seconds: float):
        """Prepares to decode with one thread, because files are decoded in parallel instead."""
        self.stream = stream
        self.start = start
        self.seconds = seconds
        stream.codec_context.thread_count = 1
        self.reset()

    def reset(self) -> None:
        """Discards everything decoded so far, so that decoding can start again."""
        self.end = 0.0
        self.done = False
        self._packets = self._damaged_packets = 0
        self._first: float | None = None  # time of the first decoded frame
        self.stream.codec_context.flush_buffers()

    @property
    def began_late(self) -> bool:
        """True if the first decoded frame comes after the start of the clip."""
        return self._first is not None and self._first > self.start + EPSILON

    def decode_packet(self, packet: av.packet.Packet, origin: float) -> None:
        """Decodes a packet; `origin` is the timestamp of the beginning of the file in seconds."""
        self._packets += 1
        try:
            decoded: list[Any] = packet.decode()  # av types every frame as a video frame
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            self._damaged_packets += 1
            return
        for frame in decoded:
            time = self.end if frame.time is None else frame.time - origin
            if self._first is None:
                self._first = time
            if time >= self.start + self.seconds - EPSILON:
                self.done = True
                self.end = max(self.end, time)
                return
            self.add(frame, time)

    @abc.abstractmethod
    def add(self, frame: _Frame, time: float) -> None:
        """Adds decoded content that begins at `time`."""

    @property
    def damage(self) -> str | None:
        """A description of the damage if too many packets failed to decode, else None."""
        if self._damaged_packets <= _MAX_DAMAGED * self._packets:
            return None
        return (
            f"{self._damaged_packets} of {self._packets} packets of {self.stream.type} cannot be "
            "decoded"
        )


class FrameDecoder(StreamDecoder[av.VideoFrame]):
    """Decodes the frames of a clip to JPEG files at 25 frames per second."""

    stream: av.VideoStream

    def __init__(self, stream: av.VideoStream, start: float, seconds: float, quality: int):
        """Prepares to decode; `quality` is the JPEG quality."""
        super().__init__(stream, start, seconds)
        self._quality = quality

    def reset(self) -> None:
        """Discards everything decoded so far, so that decoding can start again."""
        super().reset()
        self._jpegs: list[bytes] = []
        self._current: av.VideoFrame | None = None

    def add(self, frame: av.VideoFrame, time: float) -> None:
        """Adds a frame that is shown from `time` on."""
        self._repeat_until(time)
        self._current = frame
        rate = self.stream.average_rate or self.stream.guessed_rate or FRAME_RATE
        lasts = 1 / float(rate)
        if frame.duration and frame.time_base:
            lasts = float(frame.duration * frame.time_base)
        self.end = time + lasts

    def jpegs(self) -> list[bytes]:
        """Returns the frames of the clip; an empty list if the video ends before the clip."""
        self._repeat_until(min(self.end, self.start + self.seconds))
        return self._jpegs

    def _repeat_until(self, time: float) -> None:
        """Outputs the current frame at every 25th of a second before `time`."""
        count = math.ceil(
            (min(time, self.start + self.seconds) - self.start - EPSILON) * FRAME_RATE
        )
        if self._current is not None and count > len(self._jpegs):
            jpeg = _jpeg(self._current, float(self.stream.sample_aspect_ratio or 1), self._quality)
            self._jpegs += [jpeg] * (count - len(self._jpegs))


def _jpeg(frame: av.VideoFrame, pixel_aspect: float, quality: int) -> bytes:
    """Encodes a frame as a JPEG file: upright, square pixels, short side 256."""
    width, height = frame.width * pixel_aspect, frame.height
    scale = SHORT_SIDE / min(width, height)
    rgb = frame.to_ndarray(
        format="rgb24",
        width=2 * round(width * scale / 2),
        height=2 * round(height * scale / 2),
        interpolation="BICUBIC",
    )
    rgb = np.ascontiguousarray(np.rot90(rgb, frame.rotation // 90))
    return tf.io.encode_jpeg(rgb, quality=quality).numpy()


class SoundDecoder(StreamDecoder[av.AudioFrame]):
    """Decodes the sound of a clip to int16 samples at 48 kHz, one channel."""

    def reset(self) -> None:
        """Discards everything decoded so far, so that decoding can start again."""
        super().reset()
        self._buffer = np.zeros(round(self.seconds * SAMPLE_RATE), np.int16)
        self._filled = 0  # samples of the buffer up to the last one that was written
        self._resampler: av.AudioResampler | None = None
        self._input_format: tuple | None = None
        self._position = 0  # index of the next resampled sample, counted from the start of the clip

    def add(self, frame: av.AudioFrame, time: float) -> None:
        """Adds a block of sound that begins at `time`."""
        input_format = (frame.format.name, frame.layout.name, frame.sample_rate)
        if input_format != self._input_format or abs(time - self.end) > _GAP:
            self._flush()
            self._resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
            self._input_format = input_format
            self._position = round((time - self.start) * SAMPLE_RATE)
            self.end = time
        self.end += frame.samples / frame.sample_rate
        frame.pts = None  # with timestamps the resampler would fill the gaps that it detects
        assert self._resampler is not None  # created with the first frame of a format
        self._write(self._resampler.resample(frame))

    def samples(self) -> np.ndarray:
        """Returns the sound of the clip, int16 [samples]; empty if it ends before the clip."""
        self._flush()
        return self._buffer[: self._filled]

    def _flush(self) -> None:
        if self._resampler is not None:
            self._write(self._resampler.resample(None))
            self._resampler = None

    def _write(self, frames: list[av.AudioFrame]) -> None:
        for frame in frames:
            samples = frame.to_ndarray()[0]
            begin, end = self._position, self._position + len(samples)
            self._position = end
            inside = slice(max(begin, 0), min(end, len(self._buffer)))
            if inside.start < inside.stop:
                self._buffer[inside] = samples[inside.start - begin : inside.stop - begin]
                self._filled = max(self._filled, inside.stop)
