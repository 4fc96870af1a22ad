"""SpecAugment: masked cells, widths of masks, and their value."""

import numpy as np
import pytest

from perceiver.data.clips import spec_augment
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# All cells differ from each other and from their mean, 2399.5, the value of masked cells.
CELLS = np.arange(4800, dtype=np.float32).reshape(60, 80)


def masked(count, **masks):
    """Returns the masked cells for `count` seeds, bool [count, 60, 80]."""
    masks = {
        "time_masks": 0,
        "time_width": 0,
        "frequency_masks": 0,
        "frequency_width": 0,
    } | masks
    seeds = tf.data.Dataset.range(count).map(lambda i: tf.stack([tf.cast(i, tf.int32), 3]))
    found = seeds.map(lambda seed: spec_augment.spec_augment(tf.constant(CELLS), seed, **masks))
    found = next(iter(found.batch(count))).numpy()
    changed = found != CELLS
    np.testing.assert_allclose(found[changed], 2399.5)
    return changed


def test_time_mask_is_one_range_with_uniform_width_and_position():
    cells = masked(3000, time_masks=1, time_width=10)
    times = cells.all(axis=2)
    assert (cells.any(axis=2) == times).all()  # over all frequencies
    widths = times.sum(axis=1)
    rises = (np.diff(times.astype(int), axis=1, prepend=0) == 1).sum(axis=1)
    assert rises.max() == 1
    # Uniform over 0 to 10: 273 of each, with a standard deviation of 16.
    assert np.abs(np.bincount(widths, minlength=11) - 3000 / 11).max() < 80
    starts = times.argmax(axis=1)[widths == 10]
    assert (starts.min(), starts.max()) == (0, 50)
    assert abs(starts.mean() - 25) < 3


def test_frequency_masks_cover_all_times():
    cells = masked(300, frequency_masks=1, frequency_width=27)
    bins = cells.all(axis=1)
    assert (cells.any(axis=1) == bins).all()
    assert bins.sum(axis=1).max() == 27
    assert bins[:, 0].any()
    assert bins[:, -1].any()


def test_number_of_masks():
    rises = np.diff(
        masked(500, time_masks=3, time_width=2).all(axis=2).astype(int), axis=1, prepend=0
    )
    assert (rises == 1).sum(axis=1).max() == 3
    both = masked(200, time_masks=2, time_width=10, frequency_masks=2, frequency_width=10)
    assert both.all(axis=2).any()
    assert both.all(axis=1).any()
    # On average 2 x 5 rows and 2 x 5 columns minus overlaps: about 0.16 + 0.12.
    assert 0.2 < both.mean() < 0.35


def test_the_widest_masks_cover_everything():
    cells = masked(300, time_masks=1, time_width=60)
    assert cells.all(axis=(1, 2)).any()
    assert not cells.any(axis=(1, 2)).all()


@pytest.mark.parametrize("masks", [{}, {"time_masks": 2}, {"frequency_width": 5}])
def test_no_masks_or_no_width_change_nothing(masks):
    assert not masked(20, **masks).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_masks": -1}, "spec_time_masks is -1"),
        ({"time_width": 61}, "spec_time_width is 61: give 0 to 60"),
        ({"frequency_width": 81}, "spec_frequency_width is 81: give 0 to 80"),
    ],
)
def test_wrong_masks_are_named(change, message):
    masks = {"time_masks": 1, "time_width": 1, "frequency_masks": 1, "frequency_width": 1}
    with pytest.raises(InputError, match=message):
        spec_augment.check(60, 80, **(masks | change))
