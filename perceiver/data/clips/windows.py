"""Windows of a clip, in which frames and sound stay in step (Sec. 4.2).

A network sees 32 frames at 25 frames a second, 1.28 of a clip's 10 seconds: one random window in
training, and in evaluation several that overlap, whose scores are averaged. Windows begin at whole
frames, and the window of frames [f, f + n) has the samples [1920 f, 1920 (f + n)).
"""

from perceiver.data.clips.schema import SAMPLES_PER_FRAME
from perceiver.data.tensorflow_cpu import tf


def clip_length(frames: tf.Tensor, sound: tf.Tensor) -> tf.Tensor:
    """How many frames a clip lasts.

    Frames decide where there are any: the sound of a recording is often a little longer or
    shorter. Sound alone lasts as many frames as it fills, and at least one.

    Args:
      frames: string [F], empty where the clip has none.
      sound: int16 [samples], empty where the clip has none.

    Returns:
      int32 []; at least 1 unless the clip is empty.
    """
    num_frames, num_samples = tf.size(frames), tf.size(sound)
    filled = tf.maximum(num_samples // SAMPLES_PER_FRAME, tf.minimum(num_samples, 1))
    return tf.where(num_frames > 0, num_frames, filled)


def random_start(length: tf.Tensor, clip_frames: int, seed: tf.Tensor) -> tf.Tensor:
    """The first frame of a training window, uniform over all that there are.

    A clip that is shorter than a window loops, and may be entered at any frame.

    Args:
      length: int32 [], of the clip in frames.
      clip_frames: T, of the window.
      seed: int32 [2].

    Returns:
      int32 [].
    """
    num_starts = _num_starts(length, clip_frames)
    return tf.random.stateless_uniform([], seed, 0, num_starts, tf.int32)


def even_starts(length: tf.Tensor, clip_frames: int, num_windows: int) -> tf.Tensor:
    """The first frames of the evaluation windows: evenly spaced, rounded to whole frames.

    The first begins where the clip does, and the last ends where it does; a single one is in the
    middle. In a clip that is shorter than a window they begin all around the loop.

    Args:
      length: int32 [], of the clip in frames.
      clip_frames: T, of a window.
      num_windows: W.

    Returns:
      int32 [W].
    """
    last = _num_starts(length, clip_frames) - 1
    if num_windows == 1:
        return (last // 2)[tf.newaxis]
    gaps = num_windows - 1
    return (2 * tf.range(num_windows) * last + gaps) // (2 * gaps)


def frame_numbers(starts: tf.Tensor, length: tf.Tensor, clip_frames: int) -> tf.Tensor:
    """Which frames of the clip a window shows; beyond its end the clip begins again.

    Args:
      starts: int32 [...], first frames.
      length: int32 [], of the clip in frames.
      clip_frames: T, of a window.

    Returns:
      int32 [..., T] in [0, length).
    """
    return (starts[..., tf.newaxis] + tf.range(clip_frames)) % length


def sound_of_frames(sound: tf.Tensor, numbers: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """The sound that belongs to frames.

    Args:
      sound: int16 [samples]; where it ends before the frames do, silence follows.
      numbers: int32 [..., T], from `frame_numbers`; T is static.
      length: int32 [], of the clip in frames.

    Returns:
      int16 [..., 1920 T].
    """
    wanted = length * SAMPLES_PER_FRAME
    sound = sound[:wanted]
    sound = tf.pad(sound, [[0, wanted - tf.size(sound)]])
    by_frame = tf.reshape(sound, [-1, SAMPLES_PER_FRAME])
    picked = tf.gather(by_frame, numbers)  # [..., T, 1920]
    return tf.reshape(picked, [*numbers.shape[:-1], numbers.shape[-1] * SAMPLES_PER_FRAME])


def _num_starts(length: tf.Tensor, clip_frames: int) -> tf.Tensor:
    return tf.where(length < clip_frames, length, length - clip_frames + 1)
