"""The held-out part of the training split."""

import numpy as np
import pytest

from perceiver.data.dataset import Dataset, with_held_out
from perceiver.errors import InputError
from tests.data.streams import noisy_source, take


def test_a_held_out_part_is_never_trained_on():
    data = Dataset(train=noisy_source(20), eval=noisy_source(5), class_names=("a", "b", "c"))
    split = with_held_out(data, 0.25, 0)
    assert (split.train.num_examples, split.held_out.num_examples) == (15, 5)
    trained = np.concatenate(
        [b["image"] for b in take(split.train.train_batches(batch_size=5, seed=0), 9)]
    )
    (held_out,) = split.held_out.eval_batches(batch_size=5)
    pictures = np.floor(trained[:, 0, 0, 0]), held_out["image"][:, 0, 0, 0]
    assert not set(pictures[0]) & set(pictures[1])
    assert sorted({*pictures[0], *pictures[1]}) == list(range(1, 21))
    assert split.eval is data.eval
    again, other = with_held_out(data, 0.25, 0).held_out, with_held_out(data, 0.25, 1).held_out
    for source, same in ((again, True), (other, False)):
        (batch,) = source.eval_batches(batch_size=5)
        assert np.array_equal(batch["image"], held_out["image"]) == same


@pytest.mark.parametrize("fraction", [0.01, 1.0, -0.5, float("nan"), float("inf")])
def test_a_held_out_part_needs_examples_on_both_sides(fraction):
    data = Dataset(train=noisy_source(20), eval=noisy_source(5), class_names=("a", "b", "c"))
    with pytest.raises(InputError, match=f"held_out is {fraction}"):
        with_held_out(data, fraction, 0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_an_invalid_seed_of_the_held_out_part_is_named(seed):
    data = Dataset(train=noisy_source(20), eval=noisy_source(5), class_names=("a", "b", "c"))
    with pytest.raises(InputError, match=f"held_out_seed is {seed}"):
        with_held_out(data, 0.25, seed)
