"""The training stream: every epoch is a different permutation."""

import numpy as np
import pytest

from perceiver.data.stream.order import example_of_slot
from perceiver.data.tensorflow_cpu import tf


def stream(num_slots: int, num_examples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    slots = tf.data.Dataset.range(num_slots)
    stream = slots.map(lambda slot: example_of_slot(slot, num_examples, seed)).batch(num_slots)
    return tuple(part.numpy() for part in next(iter(stream)))


@pytest.mark.parametrize("num_examples", [1, 2, 7, 360, 1437])
def test_each_epoch_shows_every_example_once(num_examples):
    index, _ = stream(3 * num_examples, num_examples, seed=5)
    for epoch in index.reshape(3, num_examples):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(num_examples))


def test_epochs_and_seeds_have_different_orders():
    index, _ = stream(2 * 1437, 1437, seed=5)
    other, _ = stream(1437, 1437, seed=6)
    far, _ = stream(1437, 1437, seed=5 + 2**32)
    orders = [index[:1437], index[1437:], other, far]
    correlation = np.corrcoef(orders) - np.eye(4)
    # Independent orders have coefficients of about 1437 ** -0.5 = 0.026.
    assert np.abs(correlation).max() < 0.13


def test_orders_of_epochs_are_not_correlated():
    n, epochs, places = 65_536, 12, 2_000
    slots = (np.arange(epochs)[:, None] * n + np.arange(places)).reshape(-1)
    found = tf.data.Dataset.from_tensor_slices(slots).map(lambda s: example_of_slot(s, n, 0)[0])
    orders = next(iter(found.batch(len(slots)))).numpy().reshape(epochs, places)
    correlation = np.corrcoef(orders)[np.triu_indices(epochs, 1)]
    # 2,000 ** -0.5 = 0.022 if independent; a single pass of index_shuffle gives 0.4.
    assert correlation.std() < 0.03


def test_no_order_comes_twice():
    n, epochs = 16, 1500
    index, _ = stream(n * epochs, n, seed=0)
    # A single pass of index_shuffle repeats itself some twenty times here.
    assert len(np.unique(index.reshape(epochs, n), axis=0)) == epochs


def test_a_sorted_data_set_is_well_shuffled():
    index, _ = stream(1000, 1000, seed=3)
    classes = index.reshape(20, 50) // 100  # ten sorted classes, batches of 50
    counts = np.stack([np.bincount(batch, minlength=10) for batch in classes])
    assert counts.max() < 20  # 5 expected, standard deviation 2.1
    assert counts.std() > 1  # random, not dealt out in turn


def test_augmentation_seed_differs_between_examples_epochs_and_seeds():
    first = stream(200, 100, seed=5)[1]
    second = stream(200, 100, seed=6)[1]
    assert first.shape == (200, 2)
    assert len(np.unique(np.concatenate([first, second]), axis=0)) == 400
