"""Mixup and CutMix: pixels compared with NumPy, weights with SciPy's beta distribution."""

import numpy as np
import pytest
from scipy import stats

from perceiver.data.dataset import Source
from perceiver.data.images.mixing import mixer
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

S = 32


def draws(mix_pair, pair, count):
    """Returns features [count, 2, ...] of a pair mixed with the seeds (0, 5), (1, 5), ..."""
    constant = {name: tf.constant(value) for name, value in pair.items()}
    seeds = tf.data.Dataset.range(count).map(lambda i: tf.stack([tf.cast(i, tf.int32), 5]))
    found = seeds.map(lambda seed: mix_pair(dict(constant), seed))
    return {name: value.numpy() for name, value in next(iter(found.batch(count))).items()}


@pytest.fixture
def pair():
    noise = np.random.default_rng(0).integers(0, 256, (2, S, S, 3), np.uint8)
    return {
        "image": noise,
        "label": np.array([3, 7], np.int32),
        "index": np.array([10, 20], np.int32),
    }


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_labels_and_dtypes_of_the_features(pair, mixup, cutmix):
    mixed = draws(mixer(mixup, cutmix), pair, 20)
    assert {name: (value.dtype, value.shape[1:]) for name, value in mixed.items()} == {
        "image": (np.uint8, (2, S, S, 3)),
        "label": (np.int32, (2,)),
        "other_label": (np.int32, (2,)),
        "label_weight": (np.float32, (2,)),
        "index": (np.int32, (2,)),
    }
    assert (mixed["label"] == [3, 7]).all()
    assert (mixed["other_label"] == [7, 3]).all()
    assert (mixed["index"] == [10, 20]).all()
    assert (mixed["label_weight"][:, 0] == mixed["label_weight"][:, 1]).all()
    assert len(np.unique(mixed["label_weight"][:, 0])) > 10


def test_mixup_blends_pixels_by_the_weight_of_the_label(pair):
    mixed = draws(mixer(1.0, 0.0), pair, 50)
    share = mixed["label_weight"].astype(np.float64)[:, :, None, None, None]
    own = pair["image"].astype(np.float64)
    expected = share * own + (1 - share) * own[::-1]
    # Half a level for rounding, and a margin for float32.
    assert np.abs(mixed["image"] - expected).max() < 0.5 + 1e-4


def test_cutmix_swaps_one_rectangle_and_weighs_labels_by_its_pixels(pair):
    pair["image"][0] |= 1  # no pixel is equal in both, so that swapped ones are recognisable
    pair["image"][1] &= 254
    mixed = draws(mixer(0.0, 1.0), pair, 300)
    own, other = pair["image"], pair["image"][::-1]
    swapped = (mixed["image"] == other).all(-1)  # [300, 2, S, S]
    assert (np.where(swapped[..., None], other, own) == mixed["image"]).all()
    np.testing.assert_array_equal(swapped[:, 0], swapped[:, 1])
    rows, columns = swapped[:, 0].any(2), swapped[:, 0].any(1)
    np.testing.assert_array_equal(swapped[:, 0], rows[:, :, None] & columns[:, None, :])
    for along in (rows, columns):
        assert (np.abs(np.diff(along, axis=1)).sum(1) <= 2).all()  # in one piece
        assert along.mean(0).min() > 0.3  # every pixel is swapped in some pairs
    np.testing.assert_allclose(
        mixed["label_weight"], 1 - swapped.mean((2, 3), dtype=np.float64), atol=1e-6
    )
    # Rectangles that touch no border are squares here, as the picture is.
    inside = ~(rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1])
    assert inside.sum() > 30
    assert (np.abs(rows.sum(1) - columns.sum(1))[inside] <= 1).all()


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 8.0])
def test_weights_follow_the_beta_distribution(alpha):
    # For a white and a black picture, the first result shows its weight.
    tiny = {
        "image": np.array([255, 0], np.uint8).reshape(2, 1, 1, 1),
        "label": np.zeros(2, np.int32),
    }
    mixed = draws(mixer(alpha, 0.0), tiny, 4000)
    share = mixed["label_weight"][:, 0].astype(np.float64)
    assert np.isfinite(share).all()
    np.testing.assert_allclose(mixed["image"][:, 0, 0, 0, 0], 255 * share, atol=0.51)
    # Float32 cannot tell the last shares below 1 apart: compare within [0.001, 0.999].
    edges = np.array([0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
    below = (share[:, None] < edges).mean(0)
    np.testing.assert_allclose(below, stats.beta(alpha, alpha).cdf(edges), atol=0.03)


def test_area_of_cutmix_before_clipping(pair):
    mixed = draws(mixer(0.0, 200.0), pair, 200)  # shares of 0.5, give or take 0.025
    # A square of 0.707 of the side about a uniform centre covers, cut off at the borders, a mean
    # of (0.707 - 0.707 ** 2 / 4) ** 2 of the picture.
    side = np.sqrt(0.5)
    expected = 1 - (side - side**2 / 4) ** 2
    np.testing.assert_allclose(mixed["label_weight"].mean(), expected, atol=0.02)
    assert mixed["label_weight"].min() > 0.4


def test_each_pair_is_mixed_by_either_method_with_equal_probability(pair):
    mixed = draws(mixer(1.0, 1.0), pair, 400)
    from_either = (mixed["image"] == pair["image"]) | (mixed["image"] == pair["image"][::-1])
    by_cutmix = from_either.all((1, 2, 3, 4))
    assert 160 < by_cutmix.sum() < 240  # four standard deviations


def test_without_alphas_nothing_is_mixed():
    assert mixer(0.0, 0.0) is None


@pytest.mark.parametrize("alphas", [(-0.1, 0.0), (float("nan"), 0.0), (float("inf"), 0.0)])
def test_invalid_alphas_are_named(alphas):
    with pytest.raises(InputError, match="mixup_alpha is"):
        mixer(*alphas)
    with pytest.raises(InputError, match="cutmix_alpha is"):
        mixer(*alphas[::-1])


def test_mixing_is_the_same_for_any_number_of_processes(pair):
    images = tf.constant(np.random.default_rng(1).integers(0, 256, (11, 8, 8, 3), np.uint8))

    def example(index, seed):
        del seed
        return {"image": images[index], "label": tf.cast(index, tf.int32)}

    source = Source(11, example, mix_pair=mixer(0.5, 0.5))
    one = source.train_batches(batch_size=8, seed=3)
    two = [
        source.train_batches(batch_size=4, seed=3, process_index=p, process_count=2) for p in (0, 1)
    ]
    for _ in range(4):
        whole, halves = next(one), [next(iterator) for iterator in two]
        assert set(whole) == {"image", "label", "index", "other_label", "label_weight"}
        for name in whole:
            np.testing.assert_array_equal(whole[name], np.concatenate([h[name] for h in halves]))
        np.testing.assert_array_equal(
            whole["other_label"].reshape(4, 2), whole["label"].reshape(4, 2)[:, ::-1]
        )
