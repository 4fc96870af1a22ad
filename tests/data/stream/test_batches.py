"""Batches: divided among processes, resumed exactly, and each example evaluated once."""

import dataclasses
import functools
import hashlib
import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from perceiver.data import digits
from perceiver.data.dataset import Source
from perceiver.data.images import folder as image_folder
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from tests.data.streams import assert_same_batches, noisy_source, take

REPOSITORY = pathlib.Path(__file__).parents[3]


def test_training_batches_have_fixed_shapes_and_dtypes():
    batch = next(noisy_source(5).train_batches(batch_size=4, seed=0))
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        "image": ((4, 2, 2, 1), np.float32),
        "label": ((4,), np.int32),
        "index": ((4,), np.int32),
    }
    np.testing.assert_array_equal(np.floor(batch["image"][:, 0, 0, 0]), batch["index"] + 1)


def test_no_example_is_dropped_at_the_end_of_an_epoch():
    batches = take(noisy_source(10).train_batches(batch_size=4, seed=1), 5)
    indices = np.concatenate([batch["index"] for batch in batches]).reshape(2, 10)
    np.testing.assert_array_equal(np.sort(indices), [np.arange(10)] * 2)


@pytest.mark.parametrize("process_count", [2, 3])
def test_processes_share_the_batches_of_one(process_count):
    alone = take(noisy_source(25).train_batches(batch_size=6, seed=9), 9)
    parts = [
        take(
            noisy_source(25).train_batches(
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
    first, second = take(noisy_source(8).train_batches(batch_size=8, seed=2), 2)
    other = next(noisy_source(8).train_batches(batch_size=8, seed=3))
    noise = [batch["image"][np.argsort(batch["index"])] for batch in (first, second, other)]
    assert all((a != b).all() for a, b in itertools.combinations(noise, 2))


@pytest.mark.parametrize("taken", [0, 1, 3, 8])  # an epoch is 3.5 batches
def test_restored_iterator_continues_exactly(taken):
    whole = take(noisy_source(14).train_batches(batch_size=4, seed=4), taken + 6)
    iterator = noisy_source(14).train_batches(batch_size=4, seed=4)
    take(iterator, taken)
    state = iterator.state()
    assert len(state) < 10_000

    assert_same_batches(take(iterator, 6), whole[taken:])  # saving disturbs nothing
    iterator.restore(state)
    assert_same_batches(take(iterator, 6), whole[taken:])
    fresh = noisy_source(14).train_batches(batch_size=4, seed=4)
    take(fresh, 2)
    fresh.restore(state)
    assert_same_batches(take(fresh, 6), whole[taken:])
    again = noisy_source(14).train_batches(batch_size=4, seed=4)
    again.restore(fresh.state())
    assert_same_batches(take(again, 1), take(fresh, 1))


def test_the_state_of_one_process_fits_the_others():
    pair = [
        noisy_source(14).train_batches(batch_size=2, seed=4, process_index=process, process_count=2)
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

state, options = sys.argv[1:]
source = image_folder.load(**json.loads(options)).train
iterator = source.train_batches(batch_size=5, seed=11)
iterator.restore(pathlib.Path(state).read_bytes())
batches = [next(iterator) for _ in range(4)]
print(json.dumps([b["index"].tolist() for b in batches]))
print(hashlib.sha256(b"".join(b["image"].tobytes() for b in batches)).hexdigest())
"""


def test_a_new_process_continues_exactly(tmp_path, add_pictures, folder_options):
    for name in ("a", "b"):
        add_pictures(tmp_path / "pictures" / name, 8, ".jpg")
    options = folder_options | {"dir": str(tmp_path / "pictures")}
    iterator = image_folder.load(**options).train.train_batches(batch_size=5, seed=11)
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
    def batches(source, **arguments):
        return source.train_batches(**arguments)

    options = {"source": noisy_source(14), "batch_size": 4, "seed": 4}
    state = batches(**options).state()
    other, before = (batches(**(options | change)) for _ in range(2))
    take(other, 1), take(before, 1)
    with pytest.raises(InputError, match=named):
        other.restore(state)
    assert_same_batches(take(other, 2), take(before, 2))


def test_a_damaged_state_is_refused():
    iterator = noisy_source(14).train_batches(batch_size=4, seed=4)
    take(iterator, 2)
    state = iterator.state()
    for position in range(len(state)):
        flipped = bytearray(state)
        flipped[position] ^= 0x01
        with pytest.raises(InputError, match="damaged"):
            iterator.restore(bytes(flipped))
    for damaged in (b"", b"nonsense", b"[1]", b"null", state[:-30], state[: len(state) // 2]):
        with pytest.raises(InputError, match="damaged"):
            iterator.restore(damaged)


def test_a_state_fits_another_number_of_processes_with_the_same_global_batch():
    alone = noisy_source(14).train_batches(batch_size=4, seed=4)
    take(alone, 5)
    state = alone.state()
    expected = next(alone)
    for process in range(2):
        half = noisy_source(14).train_batches(
            batch_size=2, seed=4, process_index=process, process_count=2
        )
        half.restore(state)
        here = slice(2 * process, 2 * process + 2)
        np.testing.assert_array_equal(next(half)["image"], expected["image"][here])


def pairing(features, seed):
    """Averages the pictures of a pair and adds a feature of noise for each pair."""
    images = tf.cast(features["image"], tf.float32)
    noise = tf.random.stateless_uniform([], seed)
    return features | {"image": 0.5 * (images + images[::-1]), "noise": tf.fill([2], noise)}


def test_neighbours_of_the_stream_are_mixed_for_any_number_of_processes():
    plain = noisy_source(10).train_batches(batch_size=4, seed=3)
    mixed = dataclasses.replace(noisy_source(10), mix_pair=pairing)
    alone = mixed.train_batches(batch_size=4, seed=3)
    halves = [
        mixed.train_batches(batch_size=2, seed=3, process_index=process, process_count=2)
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
    mixed = dataclasses.replace(noisy_source(10), mix_pair=pairing)
    with pytest.raises(ValueError, match="batch_size is 3 a process"):
        mixed.train_batches(batch_size=3, seed=0)


@pytest.mark.parametrize("process_count", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 30])
def test_evaluation_counts_each_example_once(process_count, batch_size):
    source = noisy_source(10)
    parts = [
        list(
            source.eval_batches(
                batch_size=batch_size, process_index=process, process_count=process_count
            )
        )
        for process in range(process_count)
    ]
    assert len({len(part) for part in parts}) == 1
    evaluated = []
    for batch in itertools.chain.from_iterable(parts):
        assert all(len(value) == batch_size for value in batch.values())
        real = batch["mask"] == 1
        np.testing.assert_array_equal(batch["mask"][~real], 0)
        np.testing.assert_array_equal(batch["image"][~real], 0)
        np.testing.assert_array_equal(batch["image"][real][:, 0, 0, 0], batch["index"][real] + 1)
        evaluated.extend(batch["index"][real])
    assert sorted(evaluated) == list(range(10))


def test_evaluation_shows_all_real_digits():
    held_out = digits.load(image_size=8, channels=1, max_shift=1).eval
    labels = np.concatenate(
        [b["label"][b["mask"] == 1] for b in held_out.eval_batches(batch_size=100)]
    )
    assert len(labels) == 360
    np.testing.assert_array_equal(np.bincount(labels) // 10, 3)  # 34 to 37 of each digit


@pytest.mark.parametrize(
    "batches",
    [functools.partial(noisy_source(3).train_batches, seed=0), noisy_source(3).eval_batches],
    ids=["train", "eval"],
)
def test_invalid_sizes_are_refused(batches):
    with pytest.raises(ValueError, match="batch_size is 0"):
        batches(batch_size=0)
    with pytest.raises(ValueError, match="process_index is 2 of 2"):
        batches(batch_size=1, process_index=2, process_count=2)


def test_shapes_that_vary_are_refused():
    def example(index, seed):
        return {"image": tf.zeros([index, 2, 1]), "label": tf.cast(index, tf.int32)}

    with pytest.raises(ValueError, match="shape of 'image'"):
        Source(3, example).train_batches(batch_size=1, seed=0)
