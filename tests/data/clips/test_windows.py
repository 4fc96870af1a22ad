"""Windows of a clip: their starts, and frames and sound in step."""

import numpy as np
import pytest

from perceiver.data.clips import windows
from perceiver.data.tensorflow_cpu import tf

PER_FRAME = 1920  # 48,000 samples per second / 25 frames per second


def length_of(num_frames, num_samples):
    return int(windows.clip_length(tf.fill([num_frames], ""), tf.zeros([num_samples], tf.int16)))


@pytest.mark.parametrize(
    ("num_frames", "num_samples", "length"),
    [
        (250, 480_000, 250),
        (250, 470_000, 250),  # the frames determine the length
        (250, 0, 250),
        (0, 480_000, 250),
        (0, 481_919, 250),
        (0, 481_920, 251),
        (0, 100, 1),
        (0, 0, 0),
    ],
)
def test_length_of_a_clip(num_frames, num_samples, length):
    assert length_of(num_frames, num_samples) == length


def test_evaluation_windows_of_ten_seconds():
    starts = windows.even_starts(tf.constant(250), 32, 16).numpy()
    # 218 frames over 15 gaps, 14.53 each.
    by_hand = [0, 15, 29, 44, 58, 73, 87, 102, 116, 131, 145, 160, 174, 189, 203, 218]
    np.testing.assert_array_equal(starts, by_hand)
    assert starts[-1] + 32 == 250


@pytest.mark.parametrize("length", [33, 40, 47, 48, 100, 253])
@pytest.mark.parametrize("count", [2, 3, 16])
def test_evaluation_windows_are_even_and_reach_both_ends(length, count):
    starts = windows.even_starts(tf.constant(length), 32, count).numpy()
    exact = np.linspace(0, length - 32, count)
    assert (starts[0], starts[-1]) == (0, length - 32)
    assert np.abs(starts - exact).max() <= 0.5


def test_a_single_evaluation_window_is_in_the_middle():
    assert windows.even_starts(tf.constant(250), 32, 1).numpy().tolist() == [109]


def test_training_windows_begin_uniformly():
    seeds = tf.data.Dataset.range(8000).map(lambda i: tf.stack([tf.cast(i, tf.int32), 1]))
    found = seeds.map(lambda seed: windows.random_start(tf.constant(50), 32, seed)).batch(8000)
    counts = np.bincount(next(iter(found)).numpy())
    assert len(counts) == 19  # starts 0 to 18: the last window ends with the clip
    # Binomial with n = 8000 and p = 1/19: 421 with a standard deviation of 20.
    assert np.abs(counts - 8000 / 19).max() < 100


def test_a_short_clip_loops():
    numbers = windows.frame_numbers(tf.constant(3), tf.constant(5), 8).numpy()
    np.testing.assert_array_equal(numbers, [3, 4, 0, 1, 2, 3, 4, 0])
    starts = windows.even_starts(tf.constant(5), 8, 16).numpy()
    assert (starts[0], starts[-1], set(starts)) == (0, 4, {0, 1, 2, 3, 4})
    drawn = [int(windows.random_start(tf.constant(5), 8, [i, 0])) for i in range(100)]
    assert set(drawn) == {0, 1, 2, 3, 4}


def test_a_clip_of_one_frame_works():
    one = tf.constant(1)
    starts = windows.even_starts(one, 32, 16)
    assert windows.frame_numbers(starts, one, 32).numpy().tolist() == [[0] * 32] * 16
    assert int(windows.random_start(one, 32, [0, 0])) == 0


def sound_of(sound, starts, length, clip_frames):
    length = tf.constant(length)
    numbers = windows.frame_numbers(tf.constant(starts), length, clip_frames)
    return windows.sound_of_frames(tf.constant(sound), numbers, length).numpy()


def test_sound_matches_the_frames():
    sound = (np.arange(250 * PER_FRAME) % 30_011).astype(np.int16)
    (one, two) = sound_of(sound, [7, 218], 250, 32)
    np.testing.assert_array_equal(one, sound[7 * PER_FRAME : 39 * PER_FRAME])
    np.testing.assert_array_equal(two, sound[218 * PER_FRAME :])
    assert one.shape == (61_440,)


def test_sound_loops_with_the_frames():
    sound = np.arange(3 * PER_FRAME, dtype=np.int16)
    looped = sound_of(sound, 1, 3, 5)
    np.testing.assert_array_equal(looped, np.concatenate([sound[PER_FRAME:], sound]))


@pytest.mark.parametrize("spare", [-2500, -1, 0, 1, 2500])
def test_sound_ends_with_the_frames(spare):
    sound = np.ones(4 * PER_FRAME + spare, np.int16)
    found = sound_of(sound, 0, 4, 4)
    assert found.shape == (4 * PER_FRAME,)
    assert found.sum() == min(len(sound), 4 * PER_FRAME)
    assert (np.diff(found) <= 0).all()  # silence comes last
