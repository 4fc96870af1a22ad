"""Batches: shared out over processes, resumed exactly, and each example evaluated once."""

import dataclasses
import hashlib
import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from perceiver.data import digits
from perceiver.data.errors import DataError
from perceiver.data.hold_out import hold_out
from perceiver.data.images import folder as image_folder
from perceiver.data.pipeline import eval_batches, train_iterator
from perceiver.data.source import Dataset, Source
from perceiver.data.tensorflow_cpu import tf

REPOSITORY = pathlib.Path(__file__).parents[2]


def noisy_source(num_examples: int) -> Source:
    """Example i is the picture i + 1, plus noise in training."""

    def example(index, seed):
        image = tf.fill([2, 2, 1], tf.cast(index + 1, tf.float32))
        if seed is not None:
            image += tf.random.stateless_uniform([2, 2, 1], seed)
        return {"image": image, "label": tf.cast(index % 3, tf.int32)}

    return Source(num_examples, example)


def take(iterator, count):
    return list(itertools.islice(iterator, count))


def assert_same_batches(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_training_batches_have_fixed_shapes_and_dtypes():
    batch = next(train_iterator(noisy_source(5), batch_size=4, seed=0))
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        "image": ((4, 2, 2, 1), np.float32),
        "label": ((4,), np.int32),
        "index": ((4,), np.int32),
    }
    np.testing.assert_array_equal(np.floor(batch["image"][:, 0, 0, 0]), batch["index"] + 1)


def test_no_example_is_dropped_at_the_end_of_an_epoch():
    batches = take(train_iterator(noisy_source(10), batch_size=4, seed=1), 5)
    seen = np.concatenate([batch["index"] for batch in batches]).reshape(2, 10)
    np.testing.assert_array_equal(np.sort(seen), [np.arange(10)] * 2)


@pytest.mark.parametrize("process_count", [2, 3])
def test_processes_share_the_batches_of_one(process_count):
    alone = take(train_iterator(noisy_source(25), batch_size=6, seed=9), 9)
    parts = [
        take(
            train_iterator(
                noisy_source(25),
                batch_size=6 // process_count,
                seed=9,
                process_index=process,
                process_count=process_count,
            ),
            9,
        )
        for process in range(process_count)
    ]
    together = [
        {name: np.concatenate([part[name] for part in step]) for name in step[0]}
        for step in zip(*parts, strict=True)
    ]
    assert_same_batches(together, alone)


def test_augmentation_changes_with_the_epoch_and_the_seed():
    first, second = take(train_iterator(noisy_source(8), batch_size=8, seed=2), 2)
    other = next(train_iterator(noisy_source(8), batch_size=8, seed=3))
    noise = [batch["image"][np.argsort(batch["index"])] for batch in (first, second, other)]
    assert all((a != b).all() for a, b in itertools.combinations(noise, 2))


@pytest.mark.parametrize("taken", [0, 1, 3, 8])  # an epoch is 3.5 batches
def test_restored_iterator_goes_on_exactly(taken):
    whole = take(train_iterator(noisy_source(14), batch_size=4, seed=4), taken + 6)
    iterator = train_iterator(noisy_source(14), batch_size=4, seed=4)
    take(iterator, taken)
    state = iterator.state()
    assert len(state) < 10_000

    assert_same_batches(take(iterator, 6), whole[taken:])  # saving disturbs nothing
    iterator.restore(state)
    assert_same_batches(take(iterator, 6), whole[taken:])
    fresh = train_iterator(noisy_source(14), batch_size=4, seed=4)
    take(fresh, 2)
    fresh.restore(state)
    assert_same_batches(take(fresh, 6), whole[taken:])
    again = train_iterator(noisy_source(14), batch_size=4, seed=4)
    again.restore(fresh.state())
    assert_same_batches(take(again, 1), take(fresh, 1))


def test_the_state_of_one_process_fits_the_others():
    pair = [
        train_iterator(
            noisy_source(14), batch_size=2, seed=4, process_index=process, process_count=2
        )
        for process in range(2)
    ]
    for iterator in pair:
        take(iterator, 3)
    state = pair[0].state()
    expected = take(pair[1], 3)
    pair[1].restore(state)
    assert_same_batches(take(pair[1], 3), expected)


RESUME = """
import hashlib, json, pathlib, sys
from perceiver.data.images import folder as image_folder
from perceiver.data.pipeline import train_iterator

state, options = sys.argv[1:]
source = image_folder.load(**json.loads(options)).train
iterator = train_iterator(source, batch_size=5, seed=11)
iterator.restore(pathlib.Path(state).read_bytes())
batches = [next(iterator) for _ in range(4)]
print(json.dumps([b["index"].tolist() for b in batches]))
print(hashlib.sha256(b"".join(b["image"].tobytes() for b in batches)).hexdigest())
"""


def test_a_new_process_goes_on_exactly(tmp_path, add_pictures, folder_options):
    for name in ("a", "b"):
        add_pictures(tmp_path / "pictures" / name, 8, ".jpg")
    options = folder_options | {"dir": str(tmp_path / "pictures")}
    iterator = train_iterator(image_folder.load(**options).train, batch_size=5, seed=11)
    take(iterator, 2)  # of 12 training pictures, so that the next batch crosses the epochs
    (tmp_path / "state").write_bytes(iterator.state())
    batches = take(iterator, 4)

    command = [sys.executable, "-c", RESUME, str(tmp_path / "state"), json.dumps(options)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ids, pixels = done.stdout.splitlines()
    assert json.loads(ids) == [batch["index"].tolist() for batch in batches]
    together = b"".join(batch["image"].tobytes() for batch in batches)
    assert pixels == hashlib.sha256(together).hexdigest()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 5}, "seed 4 there, 5 here"),
        ({"batch_size": 2}, "batch_size 4 there, 2 here"),
        ({"process_count": 2}, "batch_size 4 there, 8 here"),
        ({"source": noisy_source(15)}, "num_examples 14 there, 15 here"),
    ],
)
def test_a_state_of_another_stream_is_refused(change, named):
    options = {"source": noisy_source(14), "batch_size": 4, "seed": 4}
    state = train_iterator(**options).state()
    other = train_iterator(**(options | change))
    before = train_iterator(**(options | change))
    take(other, 1), take(before, 1)
    with pytest.raises(DataError, match=named):
        other.restore(state)
    assert_same_batches(take(other, 2), take(before, 2))


def test_a_damaged_state_is_refused():
    iterator = train_iterator(noisy_source(14), batch_size=4, seed=4)
    take(iterator, 2)
    state = iterator.state()
    for position in range(len(state)):
        flipped = bytearray(state)
        flipped[position] ^= 0x01
        with pytest.raises(DataError, match="damaged"):
            iterator.restore(bytes(flipped))
    for damaged in (b"", b"nonsense", b"[1]", b"null", state[:-30], state[: len(state) // 2]):
        with pytest.raises(DataError, match="damaged"):
            iterator.restore(damaged)


def test_a_state_fits_another_number_of_processes_with_the_same_global_batch():
    alone = train_iterator(noisy_source(14), batch_size=4, seed=4)
    take(alone, 5)
    state = alone.state()
    expected = next(alone)
    for process in range(2):
        half = train_iterator(
            noisy_source(14), batch_size=2, seed=4, process_index=process, process_count=2
        )
        half.restore(state)
        here = slice(2 * process, 2 * process + 2)
        np.testing.assert_array_equal(next(half)["image"], expected["image"][here])


def pairing(features, seed):
    """Mixes a pair so that it shows whose pair it is, with noise of the pair's own."""
    images = tf.cast(features["image"], tf.float32)
    noise = tf.random.stateless_uniform([], seed)
    return features | {"image": 0.5 * (images + images[::-1]), "noise": tf.fill([2], noise)}


def test_neighbours_of_the_stream_are_mixed_for_any_number_of_processes():
    plain = train_iterator(noisy_source(10), batch_size=4, seed=3)
    mixed = dataclasses.replace(noisy_source(10), of_pair=pairing)
    alone = train_iterator(mixed, batch_size=4, seed=3)
    halves = [
        train_iterator(mixed, batch_size=2, seed=3, process_index=process, process_count=2)
        for process in range(2)
    ]
    noise = []
    for _ in range(6):  # an epoch is 2.5 batches
        before, after = next(plain), next(alone)
        together = [next(half) for half in halves]
        pairs = before["image"].reshape(2, 2, 2, 2, 1)
        expected = np.repeat(pairs.mean(axis=1), 2, axis=0)
        np.testing.assert_allclose(after["image"], expected, rtol=1e-6)
        for name, value in after.items():
            np.testing.assert_array_equal(np.concatenate([h[name] for h in together]), value)
        assert (after["noise"][::2] == after["noise"][1::2]).all()
        noise.extend(after["noise"][::2])
    assert len(set(noise)) == len(noise)
    state = alone.state()
    expected = next(alone)
    alone.restore(state)
    assert_same_batches([next(alone)], [expected])


def test_pairs_need_an_even_batch():
    mixed = dataclasses.replace(noisy_source(10), of_pair=pairing)
    with pytest.raises(ValueError, match="batch_size is 3 a process"):
        train_iterator(mixed, batch_size=3, seed=0)


@pytest.mark.parametrize("process_count", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 30])
def test_evaluation_counts_each_example_once(process_count, batch_size):
    source = noisy_source(10)
    parts = [
        list(
            eval_batches(
                source, batch_size=batch_size, process_index=process, process_count=process_count
            )
        )
        for process in range(process_count)
    ]
    assert len({len(part) for part in parts}) == 1
    seen = []
    for batch in itertools.chain.from_iterable(parts):
        assert all(len(value) == batch_size for value in batch.values())
        real = batch["mask"] == 1
        np.testing.assert_array_equal(batch["mask"][~real], 0)
        np.testing.assert_array_equal(batch["image"][~real], 0)
        np.testing.assert_array_equal(batch["image"][real][:, 0, 0, 0], batch["index"][real] + 1)
        seen.extend(batch["index"][real])
    assert sorted(seen) == list(range(10))


def test_evaluation_of_real_digits_meets_the_data():
    held_out = digits.load(image_size=8, channels=1, max_shift=1).eval
    labels = np.concatenate(
        [b["label"][b["mask"] == 1] for b in eval_batches(held_out, batch_size=100)]
    )
    assert len(labels) == 360
    np.testing.assert_array_equal(np.bincount(labels) // 10, 3)  # 34 to 37 of each digit


@pytest.mark.parametrize("batches", [train_iterator, eval_batches])
def test_sizes_that_cannot_be_are_refused(batches):
    seed = {"seed": 0} if batches is train_iterator else {}
    with pytest.raises(ValueError, match="batch_size is 0"):
        batches(noisy_source(3), batch_size=0, **seed)
    with pytest.raises(ValueError, match="process_index is 2 of 2"):
        batches(noisy_source(3), batch_size=1, process_index=2, process_count=2, **seed)


def test_shapes_that_vary_are_refused():
    def example(index, seed):
        return {"image": tf.zeros([index, 2, 1]), "label": tf.cast(index, tf.int32)}

    with pytest.raises(ValueError, match="shape of 'image'"):
        train_iterator(Source(3, example), batch_size=1, seed=0)


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


def test_a_held_out_part_is_never_trained_on():
    data = Dataset(train=noisy_source(20), eval=noisy_source(5), class_names=("a", "b", "c"))
    parted = hold_out(data, 0.25, 0)
    assert (parted.train.num_examples, parted.held_out.num_examples) == (15, 5)
    learned = np.concatenate(
        [b["image"] for b in take(train_iterator(parted.train, batch_size=5, seed=0), 9)]
    )
    (held_out,) = eval_batches(parted.held_out, batch_size=5)
    pictures = np.floor(learned[:, 0, 0, 0]), held_out["image"][:, 0, 0, 0]
    assert not set(pictures[0]) & set(pictures[1])
    assert sorted({*pictures[0], *pictures[1]}) == list(range(1, 21))
    assert parted.eval is data.eval
    again, other = hold_out(data, 0.25, 0).held_out, hold_out(data, 0.25, 1).held_out
    for source, same in ((again, True), (other, False)):
        (batch,) = eval_batches(source, batch_size=5)
        assert np.array_equal(batch["image"], held_out["image"]) == same


@pytest.mark.parametrize("fraction", [0.01, 1.0, -0.5, float("nan"), float("inf")])
def test_a_held_out_part_needs_examples_on_both_sides(fraction):
    data = Dataset(train=noisy_source(20), eval=noisy_source(5), class_names=("a", "b", "c"))
    with pytest.raises(DataError, match=f"held_out is {fraction}"):
        hold_out(data, fraction, 0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_of_the_held_out_part_that_cannot_be_is_named(seed):
    data = Dataset(train=noisy_source(20), eval=noisy_source(5), class_names=("a", "b", "c"))
    with pytest.raises(DataError, match=f"held_out_seed is {seed}"):
        hold_out(data, 0.25, seed)
