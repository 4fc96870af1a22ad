"""SpecAugment: masks over stretches of time and over bands of a spectrogram.

From Park et al., 2019, without time warping. The paper of this project trains on mel spectrograms
with it (Sec. 4.2), and without it in its best run.
"""

from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError


def spec_augment(
    spectrogram: tf.Tensor,
    seed: tf.Tensor,
    *,
    time_masks: int,
    time_width: int,
    frequency_masks: int,
    frequency_width: int,
) -> tf.Tensor:
    """Masks a spectrogram.

    The width of each mask is uniform over 0 to the largest, both included, and its place is
    uniform over all that fit; masks may overlap. Masked cells take the spectrogram's mean, which
    is the zero of Park et al., whose spectrograms have zero mean.

    Args:
      spectrogram: float [T, F], of static shape.
      seed: int32 [2].
      time_masks: how many masks over time.
      time_width: the largest width of these, in cells, at most T.
      frequency_masks: how many masks over frequency.
      frequency_width: the largest width of these, in cells, at most F.

    Returns:
      Of the same shape and type.
    """
    num_times, num_bins = spectrogram.shape
    for_time, for_frequency = tf.unstack(tf.random.split(seed, 2))
    masked_times = _masked(num_times, time_masks, time_width, for_time)  # [T]
    masked_bins = _masked(num_bins, frequency_masks, frequency_width, for_frequency)  # [F]
    masked = masked_times[:, tf.newaxis] | masked_bins  # [T, F]
    return tf.where(masked, tf.reduce_mean(spectrogram), spectrogram)


def check(
    num_times: int,
    num_bins: int,
    *,
    time_masks: int,
    time_width: int,
    frequency_masks: int,
    frequency_width: int,
) -> None:
    """Raises an InputError for masks that do not fit a spectrogram [num_times, num_bins]."""
    for name, count, width, cells in (
        ("time", time_masks, time_width, num_times),
        ("frequency", frequency_masks, frequency_width, num_bins),
    ):
        if count < 0:
            raise InputError(f"spec_{name}_masks is {count}: give 0 for none, or more")
        if not 0 <= width <= cells:
            raise InputError(
                f"spec_{name}_width is {width}: give 0 to {cells}, the cells there are"
            )


def _masked(cells: int, count: int, width: int, seed: tf.Tensor) -> tf.Tensor:
    """Which of `cells` are under at least one of `count` masks; bool [cells]."""
    for_width, for_place = tf.unstack(tf.random.split(seed, 2))
    widths = tf.random.stateless_uniform([count], for_width, 0, width + 1, tf.int32)
    places = tf.random.stateless_uniform([count], for_place)
    # A draw in [0, 1) spread over the places that fit, whose number differs between the masks.
    starts = tf.cast(places * tf.cast(cells - widths + 1, tf.float32), tf.int32)
    cell = tf.range(cells)[:, tf.newaxis]
    return tf.reduce_any((starts <= cell) & (cell < starts + widths), axis=1)
