"""Writes sound and video files for tests, with content that can be recognised after decoding."""

import av
import numpy as np


def write(path, *, frames=None, rate=30, size=(64, 48), sound=None, layout="mono", options=None):
    """Writes a file in the format of its suffix.

    Args:
      path: the file.
      frames: grey level of each frame, or None for no video.
      rate: frames per second.
      size: (width, height).
      sound: (codec, sample rate, sample format, samples [channels, n] from -1 to 1), or None.
      layout: layout of the channels.
      options: options of the container.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        streams = []
        if frames is not None:
            codec = "mpeg2video" if path.suffix == ".mpg" else "libx264"
            video = container.add_stream(codec, rate=rate)
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            video.gop_size = 50
            if codec == "libx264":
                video.options = {"crf": "10"}
            pictures = (
                av.VideoFrame.from_ndarray(np.full((size[1], size[0]), level, np.uint8), "gray")
                for level in frames
            )
            streams.append((video, pictures))
        if sound is not None:
            codec, sample_rate, sample_format, samples = sound
            audio = container.add_stream(codec, rate=sample_rate, layout=layout)
            streams.append((audio, audio_frames(samples, sample_format, layout, sample_rate)))
        for stream, content in streams:
            for frame in content:
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def audio_frames(samples, sample_format, layout, sample_rate):
    dtype = av.audio.frame.format_dtypes[sample_format]
    if np.issubdtype(np.dtype(dtype), np.integer):
        info = np.iinfo(dtype)
        middle = 128 if dtype == "u1" else 0
        samples = np.clip(samples * info.max / (2 if middle else 1) + middle, info.min, info.max)
    samples = samples.astype(dtype)
    for begin in range(0, samples.shape[1], 1024):
        piece = samples[:, begin : begin + 1024]
        if not sample_format.endswith("p"):
            piece = piece.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), sample_format, layout)
        frame.sample_rate = sample_rate
        frame.pts = begin
        yield frame


def sine(sample_rate, seconds, frequency=440.0, amplitude=0.5, channels=1):
    time = np.arange(round(sample_rate * seconds)) / sample_rate
    return np.tile(amplitude * np.sin(2 * np.pi * frequency * time), (channels, 1))
