"""The frames and the sound of one clip, as they are decoded and put in their places.

Both take what FFmpeg decodes, with the time that the file gives it, in seconds from the beginning
of the file.
"""

import math

import av
import numpy as np

from perceiver.data.clips.schema import FRAME_RATE, SAMPLE_RATE, SHORT_SIDE
from perceiver.data.tensorflow_cpu import tf

EPSILON = 0.001  # seconds: Matroska rounds its times to the millisecond
_GAP = 0.05  # seconds between stated and counted time that are a gap in the sound, not rounding
_DAMAGED = 0.05  # share of a stream's packets that may be beyond decoding


class Stream:
    """What decoding frames and decoding sound have in common."""

    def __init__(self, stream: av.stream.Stream, start: float, seconds: float):
        self.stream = stream
        self.start = start
        self.seconds = seconds
        stream.codec_context.thread_count = 1  # files are decoded side by side instead
        self.reset()

    def reset(self) -> None:
        """Forgets everything: decoding begins anew."""
        self.packets = self.bad = 0
        self.end = 0.0  # of what has been decoded, in seconds from the beginning of the file
        self.first: float | None = None  # when the first thing decoded begins
        self.done = False
        self.stream.codec_context.flush_buffers()

    @property
    def began_late(self) -> bool:
        """Whether decoding began after the start of the clip."""
        return self.first is not None and self.first > self.start + EPSILON

    def packet(self, packet: av.packet.Packet, origin: float) -> None:
        """Decodes a packet; times count from `origin`."""
        self.packets += 1
        try:
            decoded = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            self.bad += 1
            return
        for frame in decoded:
            time = self.end if frame.time is None else frame.time - origin
            if self.first is None:
                self.first = time
            if time >= self.start + self.seconds - EPSILON:
                self.done = True
                self.end = max(self.end, time)
                return
            self.take(frame, time)

    @property
    def damage(self) -> str | None:
        """How much could not be decoded, where that is too much."""
        if self.bad <= _DAMAGED * self.packets:
            return None
        return f"{self.bad} of {self.packets} packets of {self.stream.type} cannot be decoded"


class Frames(Stream):
    """The frames of a clip."""

    def __init__(self, stream: av.VideoStream, start: float, seconds: float, quality: int):
        super().__init__(stream, start, seconds)
        self._quality = quality

    def reset(self) -> None:
        """Forgets everything: decoding begins anew."""
        super().reset()
        self._shown: list[bytes] = []
        self._current: av.VideoFrame | None = None

    def take(self, frame: av.VideoFrame, time: float) -> None:
        """Takes the frame that is shown from `time` on."""
        self._show_until(time)
        self._current = frame
        rate = self.stream.average_rate or self.stream.guessed_rate or FRAME_RATE
        lasts = float(frame.duration * frame.time_base) if frame.duration else 1 / float(rate)
        self.end = time + lasts

    def jpegs(self) -> list[bytes]:
        """The frames of the whole clip; none if the video is over before it."""
        self._show_until(min(self.end, self.start + self.seconds))
        return self._shown

    def _show_until(self, time: float) -> None:
        """Shows the current frame at every 25th of a second before `time`."""
        count = math.ceil(
            (min(time, self.start + self.seconds) - self.start - EPSILON) * FRAME_RATE
        )
        if self._current is not None and count > len(self._shown):
            jpeg = _jpeg(self._current, float(self.stream.sample_aspect_ratio or 1), self._quality)
            self._shown += [jpeg] * (count - len(self._shown))


def _jpeg(frame: av.VideoFrame, pixel_aspect: float, quality: int) -> bytes:
    """A frame as a JPEG file, upright, with square pixels and a short side of 256."""
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


class Sound(Stream):
    """The sound of a clip."""

    def reset(self) -> None:
        """Forgets everything: decoding begins anew."""
        super().reset()
        self._buffer = np.zeros(round(self.seconds * SAMPLE_RATE), np.int16)
        self._heard = 0  # samples of the buffer until the last one that has sound
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple | None = None
        self._position = 0  # of the next resampled sample, from the start of the clip

    def take(self, frame: av.AudioFrame, time: float) -> None:
        """Takes the sound that begins at `time`."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind or abs(time - self.end) > _GAP:
            self._flush()
            self._resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
            self._kind = kind
            self._position = round((time - self.start) * SAMPLE_RATE)
            self.end = time
        self.end += frame.samples / frame.sample_rate
        frame.pts = None  # the resampler would fill gaps of its own finding
        self._write(self._resampler.resample(frame))

    def samples(self) -> np.ndarray:
        """The sound of the whole clip; nothing if it is over before it."""
        self._flush()
        return self._buffer[: self._heard]

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
                self._heard = max(self._heard, inside.stop)
