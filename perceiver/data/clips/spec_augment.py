"""SpecAugment: masks ranges of time and ranges of frequency in a spectrogram.

Implements Park et al., 2019, without time warping. The Perceiver paper trains on mel spectrograms
with SpecAugment (Sec. 4.2), but its best run does not use it.
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

    The width of each mask is uniform from 0 to the largest width, both included. Its position is
    uniform over all positions where it fits, and masks may overlap. Masked cells are set to the
    mean of the spectrogram; Park et al. set them to zero, the mean of their spectrograms.

    Args:
      spectrogram: float [T, F], with a static shape.
      seed: int32 [2].
      time_masks: number of time masks.
      time_width: largest width of a time mask, in cells, at most T.
      frequency_masks: number of frequency masks.
      frequency_width: largest width of a frequency mask, in cells, at most F.

    Returns:
      The masked spectrogram, with the same shape and type.
    """
    num_times, num_bins = spectrogram.shape
    time_seed, frequency_seed = tf.unstack(tf.random.split(seed, 2))
    masked_times = _covered_cells(num_times, time_masks, time_width, time_seed)  # [T]
    masked_bins = _covered_cells(num_bins, frequency_masks, frequency_width, frequency_seed)  # [F]
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
                f"spec_{name}_width is {width}: give 0 to {cells}, the number of cells"
            )


def _covered_cells(cells: int, count: int, width: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws `count` masks and returns the cells that they cover, bool [cells]."""
    width_seed, start_seed = tf.unstack(tf.random.split(seed, 2))
    widths = tf.random.stateless_uniform([count], width_seed, 0, width + 1, tf.int32)
    draws = tf.random.stateless_uniform([count], start_seed)
    # A draw in [0, 1) is scaled to the positions where the mask fits, which depend on its width.
    starts = tf.cast(draws * tf.cast(cells - widths + 1, tf.float32), tf.int32)
    cell = tf.range(cells)[:, tf.newaxis]
    return tf.reduce_any((starts <= cell) & (cell < starts + widths), axis=1)
