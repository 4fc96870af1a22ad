"""What can't be read: passed over in training up to a stated share, never in evaluation."""

import dataclasses

import numpy as np
import pytest

from perceiver.data.errors import DataError
from perceiver.data.images import folder as image_folder
from perceiver.data.pipeline import eval_batches, train_iterator
from perceiver.data.source import Source
from perceiver.data.tensorflow_cpu import tf
from tests.data.streams import assert_same_batches, noisy_source, take


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path, add_pictures, folder_options):
    paths = add_pictures(tmp_path / "a", 8, ".jpg") + add_pictures(tmp_path / "b", 8, ".jpg")
    data = image_folder.load(dir=str(tmp_path), **folder_options)
    for path in paths:
        if str(path) in {data.train.name(3), data.eval.name(2)}:
            path.write_bytes(path.read_bytes()[:300])

    iterator = train_iterator(data.train, batch_size=4, seed=0)
    with pytest.raises(DataError) as raised:
        take(iterator, 3)
    assert data.train.name(3) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(DataError, match="cannot be read") as raised:
        list(eval_batches(data.eval, batch_size=3))
    assert data.eval.name(2) in str(raised.value)


def with_unreadable(source, unreadable):
    """The same source, whose examples of these numbers fail as a damaged file does."""

    def example(index, seed):
        fine = tf.reduce_all(tf.constant(unreadable, tf.int64) != index)
        with tf.control_dependencies([tf.debugging.Assert(fine, ["damaged"])]):
            return source.example(tf.identity(index), seed)

    return dataclasses.replace(source, example=example, name=lambda index: f"file {index}")


def test_training_passes_over_a_stated_share_of_damaged_files(capsys):
    """The next readable example is shown in place of a damaged one; all else is as it was."""
    whole = take(train_iterator(noisy_source(14), batch_size=4, seed=4), 14)
    damaged = with_unreadable(noisy_source(14), [5, 6, 13])
    iterator = train_iterator(damaged, batch_size=4, seed=4, max_unreadable=0.22)
    batches = take(iterator, 14)
    shown = {5: 7, 6: 7, 13: 0}
    for expected, batch in zip(whole, batches, strict=True):
        wanted = [shown.get(int(index), index) for index in expected["index"]]
        np.testing.assert_array_equal(batch["index"], wanted)
        untouched = expected["index"] == batch["index"]
        np.testing.assert_array_equal(batch["image"][untouched], expected["image"][untouched])
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 3
    assert {w.split(",")[0].removeprefix("warning: passed over ") for w in warnings} == {
        "file 5",
        "file 6",
        "file 13",
    }
    assert warnings[-1].endswith("3 so far, 3 are allowed")


@pytest.mark.parametrize("taken", [1, 4, 9])
def test_a_run_that_passed_over_files_is_resumed_exactly(taken):
    damaged = with_unreadable(noisy_source(14), [5, 6, 13])
    iterator = train_iterator(damaged, batch_size=4, seed=4, max_unreadable=0.5)
    take(iterator, taken)
    state = iterator.state()
    expected = take(iterator, 8)
    fresh = train_iterator(damaged, batch_size=4, seed=4, max_unreadable=0.5)
    fresh.restore(state)
    assert_same_batches(take(fresh, 8), expected)


def test_more_damaged_files_than_allowed_end_the_training():
    damaged = with_unreadable(noisy_source(14), [5, 6, 13])
    iterator = train_iterator(damaged, batch_size=4, seed=4, max_unreadable=0.2)
    with pytest.raises(DataError, match=r"3 of 14 examples, 2 are allowed"):
        take(iterator, 14)


def test_a_disk_that_fails_once_costs_nothing(tmp_path):
    """The file is not there when it is first read; no example is passed over."""
    path = tmp_path / "late"
    asked = []

    def put(name):
        asked.append(name)
        if len(asked) == 2:
            path.write_bytes(b"there")
        return name

    def example(index, seed):
        name = tf.numpy_function(put, [str(path)], tf.string)
        there = tf.strings.length(tf.io.read_file(tf.ensure_shape(name, [])))
        return {"image": tf.fill([1], there + tf.cast(index, tf.int32))}

    iterator = train_iterator(Source(1, example), batch_size=1, seed=0)
    np.testing.assert_array_equal(next(iterator)["image"], [[5]])


def test_a_fault_that_is_no_examples_is_not_hidden():
    """It fails in the pipeline each time, and never when looked at alone."""

    def example(index, seed):
        fine = tf.constant(tf.executing_eagerly())
        with tf.control_dependencies([tf.debugging.Assert(fine, ["only in a graph"])]):
            return {"image": tf.zeros([1])}

    iterator = train_iterator(Source(3, example), batch_size=1, seed=0, max_unreadable=0.5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="only in a graph"):
        next(iterator)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(ValueError, match="max_unreadable is"):
        train_iterator(noisy_source(3), batch_size=1, seed=0, max_unreadable=share)
