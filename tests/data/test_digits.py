"""The digits: a fixed split, values from 0 to 128, and random shifts."""

import numpy as np
import pytest

from perceiver.data import digits
from perceiver.errors import InputError


def everything(source):
    (batch,) = source.eval_batches(batch_size=source.num_examples)
    return batch


def test_split_has_the_stated_sizes_and_nothing_twice():
    data = digits.load(image_size=8, channels=1)
    train, held_out = everything(data.train), everything(data.eval)
    assert (data.train.num_examples, data.eval.num_examples) == (1437, 360)
    assert data.class_names == tuple("0123456789")
    pictures = np.concatenate([train["image"], held_out["image"]])
    assert len(np.unique(pictures.reshape(1797, 64), axis=0)) == 1797
    share = np.bincount(held_out["label"]) / np.bincount(train["label"])
    np.testing.assert_allclose(share, 360 / 1437, atol=0.02)
    assert (pictures.min(), pictures.max()) == (0, 128)


def test_a_shift_moves_the_picture_and_fills_with_background():
    still = everything(digits.load(image_size=8, channels=1).train)["image"]
    moved = digits.load(image_size=8, channels=1, max_shift=1)
    batch = next(moved.train.train_batches(batch_size=400, seed=0))
    shifts = set()
    for image, index in zip(batch["image"], batch["index"], strict=True):
        padded = np.pad(still[index, :, :, 0], 1)
        places = [
            (top, left)
            for top in range(3)
            for left in range(3)
            if (image[:, :, 0] == padded[top : top + 8, left : left + 8]).all()
        ]
        assert places
        shifts.update(places)
    assert len(shifts) == 9
    np.testing.assert_array_equal(everything(moved.train)["image"], still)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"image_size": 28, "channels": 1}, "image_size 28"),
        ({"image_size": 8, "channels": 3}, "channels 3"),
        ({"image_size": 8, "channels": 1, "max_shift": 8}, "max_shift is 8"),
    ],
)
def test_wrong_options_are_named(options, named):
    with pytest.raises(InputError, match=named):
        digits.load(**options)
