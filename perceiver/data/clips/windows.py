"""Selects windows of a clip, in which frames and sound stay in step (Sec. 4.2).

An input has 32 frames at 25 frames per second, 1.28 of the 10 seconds of a clip. Training takes one
random window. Evaluation takes several overlapping windows, whose scores are averaged. Windows
begin at whole frames, and the window of frames [f, f + n) has the samples [1920 f, 1920 (f + n)).
"""

from perceiver.data.clips.schema import SAMPLES_PER_FRAME
from perceiver.data.tensorflow_cpu import tf


def clip_length(frames: tf.Tensor, sound: tf.Tensor) -> tf.Tensor:
    """Returns the length of a clip in frames.

    If the clip has frames, it is their number: the sound of a recording is often slightly longer or
    shorter. If it has sound only, it is the number of frames that the sound fills, at least 1.

    Args:
      frames: string [F], empty if the clip has none.
      sound: int16 [samples], empty if the clip has none.

    Returns:
      int32 []; at least 1 unless the clip is empty.
    """
    num_frames, num_samples = tf.size(frames), tf.size(sound)
    sound_length = tf.maximum(num_samples // SAMPLES_PER_FRAME, tf.minimum(num_samples, 1))
    return tf.where(num_frames > 0, num_frames, sound_length)


def random_start(length: tf.Tensor, clip_frames: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws the first frame of a training window, uniformly over all windows.

    A clip that is shorter than a window loops, and the window may begin at any of its frames.

    Args:
      length: int32 [], length of the clip in frames.
      clip_frames: T, length of the window in frames.
      seed: int32 [2].

    Returns:
      int32 [].
    """
    num_starts = _num_starts(length, clip_frames)
    return tf.random.stateless_uniform([], seed, 0, num_starts, tf.int32)


def even_starts(length: tf.Tensor, clip_frames: int, num_windows: int) -> tf.Tensor:
    """Returns the first frames of the evaluation windows, evenly spaced and rounded to frames.

    The first window begins at the start of the clip and the last one ends at its end; a single
    window is in the middle. In a clip that is shorter than a window, the first frames are spread
    over the whole loop.

    Args:
      length: int32 [], length of the clip in frames.
      clip_frames: T, length of a window in frames.
      num_windows: W, number of windows.

    Returns:
      int32 [W].
    """
    last = _num_starts(length, clip_frames) - 1
    if num_windows == 1:
        return (last // 2)[tf.newaxis]
    gaps = num_windows - 1
    return (2 * tf.range(num_windows) * last + gaps) // (2 * gaps)


def frame_numbers(starts: tf.Tensor, length: tf.Tensor, clip_frames: int) -> tf.Tensor:
    """Returns the frame numbers of windows; after its end, the clip begins again.

    Args:
      starts: int32 [...], first frames of the windows.
      length: int32 [], length of the clip in frames.
      clip_frames: T, length of a window in frames.

    Returns:
      int32 [..., T] in [0, length).
    """
    return (starts[..., tf.newaxis] + tf.range(clip_frames)) % length


def sound_of_frames(sound: tf.Tensor, numbers: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Returns the sound of the given frames.

    Args:
      sound: int16 [samples]; if it ends before the frames, silence follows.
      numbers: int32 [..., T], frame numbers from `frame_numbers`; T is static.
      length: int32 [], length of the clip in frames.

    Returns:
      int16 [..., 1920 T].
    """
    num_samples = length * SAMPLES_PER_FRAME
    sound = sound[:num_samples]
    sound = tf.pad(sound, [[0, num_samples - tf.size(sound)]])
    by_frame = tf.reshape(sound, [-1, SAMPLES_PER_FRAME])
    selected = tf.gather(by_frame, numbers)  # [..., T, 1920]
    return tf.reshape(selected, [*numbers.shape[:-1], numbers.shape[-1] * SAMPLES_PER_FRAME])


def _num_starts(length: tf.Tensor, clip_frames: int) -> tf.Tensor:
    return tf.where(length < clip_frames, length, length - clip_frames + 1)
