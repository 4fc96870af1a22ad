"""Cross-entropy and accuracy against scikit-learn and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss, top_k_accuracy_score

from perceiver.training.losses import softmax_cross_entropy, top_k_correct

B, CLASSES = 53, 11


@pytest.fixture
def batch():
    rng = np.random.default_rng(1)
    return rng.normal(scale=4, size=(B, CLASSES)), rng.integers(CLASSES, size=B)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_cross_entropy_against_sklearn(batch):
    logits, labels = batch
    ours = jax.jit(softmax_cross_entropy)(jnp.float32(logits), labels)
    assert ours.shape == (B,)
    assert ours.dtype == jnp.float32
    theirs = log_loss(labels, softmax(logits), labels=range(CLASSES))
    np.testing.assert_allclose(np.mean(ours), theirs, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothed_cross_entropy_against_numpy(batch, smoothing):
    logits, labels = batch
    target = (1 - smoothing) * np.eye(CLASSES)[labels] + smoothing / CLASSES
    theirs = -np.sum(target * np.log(softmax(logits)), axis=-1)
    ours = softmax_cross_entropy(jnp.float32(logits), labels, smoothing)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_cross_entropy_of_large_and_of_half_precision_logits():
    logits = jnp.asarray([[1e4, 0.0], [0.0, 1e4]])
    np.testing.assert_allclose(softmax_cross_entropy(logits, jnp.array([0, 0])), [0, 1e4])
    # log(1000) in bfloat16 would be 6.90625.
    flat = softmax_cross_entropy(jnp.zeros((1, 1000), jnp.bfloat16), jnp.array([3]))
    np.testing.assert_allclose(flat, [np.log(1000)], rtol=1e-6)


def test_label_out_of_range_gives_nan():
    logits = jnp.zeros((3, 4))
    labels = jnp.array([-1, 4, 3])
    np.testing.assert_array_equal(
        np.isnan(softmax_cross_entropy(logits, labels)), [True, True, False]
    )
    np.testing.assert_array_equal(top_k_correct(logits, labels, 4), [0, 0, 1])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_against_sklearn(batch, k):
    logits, labels = batch
    ours = jax.jit(top_k_correct, static_argnums=2)(jnp.float32(logits), labels, k)
    assert ours.dtype == jnp.float32
    theirs = top_k_accuracy_score(labels, logits, k=k, labels=range(CLASSES), normalize=False)
    assert ours.sum() == theirs


def test_k_larger_than_the_classes_is_always_right(batch):
    logits, labels = batch
    np.testing.assert_array_equal(top_k_correct(jnp.float32(logits), labels, 20), np.ones(B))


def test_ties_count_against_the_model():
    labels = jnp.arange(4)
    np.testing.assert_array_equal(top_k_correct(jnp.zeros((4, 4)), labels, 1), np.zeros(4))
    np.testing.assert_array_equal(top_k_correct(jnp.zeros((4, 4)), labels, 3), np.zeros(4))
    two_tied = jnp.array([[2.0, 2.0, 1.0]] * 3)
    np.testing.assert_array_equal(top_k_correct(two_tied, jnp.arange(3), 1), [0, 0, 0])
    np.testing.assert_array_equal(top_k_correct(two_tied, jnp.arange(3), 2), [1, 1, 0])


def test_nan_logits_are_wrong():
    logits = jnp.array([[jnp.nan, 1.0], [1.0, jnp.nan], [jnp.nan, jnp.nan], [1.0, 0.0]])
    labels = jnp.zeros(4, jnp.int32)
    np.testing.assert_array_equal(top_k_correct(logits, labels, 1), [0, 0, 0, 1])
    np.testing.assert_array_equal(top_k_correct(logits, labels, 9), [0, 0, 0, 1])


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="not 0"):
        top_k_correct(jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32), 0)
    with pytest.raises(ValueError, match=r"not 1\.0"):
        softmax_cross_entropy(jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32), 1.0)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3,\)"):
        softmax_cross_entropy(jnp.zeros((2, 3)), jnp.zeros(3, jnp.int32))
    with pytest.raises(ValueError, match="integers, not float32"):
        softmax_cross_entropy(jnp.zeros((2, 3)), jnp.zeros(2))
