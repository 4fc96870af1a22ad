"""Losses for one label, several labels and mixed labels, and means over windows, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from perceiver.training.objectives import ManyLabels, OneLabel, make_objective
from perceiver.training.parallel import AXIS, DataParallel
from perceiver.training.step import make_eval_step

W, B, CLASSES = 16, 6, 11


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(scale=4, size=(W, B, CLASSES))


@pytest.fixture
def label():
    return np.random.default_rng(1).integers(CLASSES, size=B)


@pytest.fixture
def labels():
    return (np.random.default_rng(2).random((B, CLASSES)) < 0.3).astype(np.uint8)


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_mixed_example_weights_both_losses(logits, label):
    other, share = (label + 3) % CLASSES, np.linspace(0, 1, B)
    batch = {"label": label, "other_label": other, "label_weight": share.astype(np.float32)}
    log_p = np.log(softmax(logits[0]))
    target = np.zeros((B, CLASSES))
    np.add.at(target, (np.arange(B), label), share)
    np.add.at(target, (np.arange(B), other), 1 - share)
    for smoothing in (0.0, 0.1):
        smooth = (1 - smoothing) * target + smoothing / CLASSES
        ours = jax.jit(OneLabel(smoothing).loss)(jnp.float32(logits[0]), batch)
        np.testing.assert_allclose(ours, -(smooth * log_p).sum(axis=-1), rtol=1e-5)


def test_sigmoid_loss_against_sklearn(logits, labels):
    ours = jax.jit(ManyLabels().loss)(jnp.float32(logits[0]), {"labels": labels})
    theirs = [
        np.mean([log_loss([y], [p], labels=[0, 1]) for y, p in zip(row, scores, strict=True)])
        for row, scores in zip(labels, sigmoid(logits[0]), strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_average_of_windows_is_the_mean_score(logits):
    """Sec. 4.2: scores are averaged over 16 windows."""
    one = jax.jit(OneLabel().average)(jnp.float32(logits))
    np.testing.assert_allclose(softmax(np.float64(one)), softmax(logits).mean(axis=0), rtol=1e-4)
    many = jax.jit(ManyLabels().average)(jnp.float32(logits))
    np.testing.assert_allclose(sigmoid(np.float64(many)), sigmoid(logits).mean(axis=0), rtol=1e-4)


def test_means_of_certain_windows_stay_finite():
    certain = jnp.full([W, 1, 2], 100.0).at[0].set(-100.0)
    average = ManyLabels().average(certain)
    np.testing.assert_allclose(average, np.log(15.0), rtol=1e-4)  # 15 of 16 windows say yes


@pytest.mark.parametrize("windows", [False, True])
def test_evaluation_of_windows(windows, logits, label, labels):
    """Padding does not count, whatever its loss; scores have the order of the examples."""
    devices = DataParallel()
    inputs = np.float32(logits[:, :, None] if windows else logits[:1, :, None])
    inputs = inputs.transpose(1, 0, 2, 3) if windows else inputs[0]
    mask = np.float32([1, 1, 1, 1, 1, 0])
    inputs[-1] = np.nan
    index = np.int32([4, 0, 3, 1, 2, 0])
    batch = {"audio": inputs, "label": label, "labels": labels, "index": index, "mask": mask}
    scores = logits if windows else logits[:1]

    def apply(params, batch):
        return params * batch["audio"][:, 0]

    def run(objective):
        step = devices.map(make_eval_step(apply, objective=objective, windows=windows, axis=AXIS))
        return devices.first(step(devices.replicate(jnp.float32(1)), devices.shard(batch)))

    sums, scored = run(OneLabel())
    mean = softmax(scores).mean(axis=0)[:5]
    assert sums["num_examples"] == 5
    np.testing.assert_allclose(sums["loss"], -np.log(mean[range(5), label[:5]]).sum(), rtol=1e-4)
    assert sums["top1"] == np.sum(mean.argmax(axis=-1) == label[:5])
    np.testing.assert_array_equal(scored["index"], index)
    np.testing.assert_array_equal(scored["label"], label)
    order = np.argsort(-mean, axis=-1)[:, :5]
    np.testing.assert_array_equal(scored["classes"][:5], order)
    np.testing.assert_allclose(
        scored["probabilities"][:5], np.take_along_axis(mean, order, axis=-1), rtol=1e-4
    )
    np.testing.assert_allclose(
        scored["label_probability"][:5], mean[range(5), label[:5]], rtol=1e-4
    )

    sums, scored = run(ManyLabels())
    np.testing.assert_array_equal(scored["mask"], mask)
    np.testing.assert_array_equal(scored["index"], index)
    np.testing.assert_array_equal(scored["labels"], labels)
    np.testing.assert_allclose(
        sigmoid(np.float64(scored["logits"][:5])), sigmoid(scores).mean(axis=0)[:5], rtol=1e-4
    )
    assert np.isfinite(sums["loss"])


def test_by_name():
    assert make_objective("softmax", label_smoothing=0.1) == OneLabel(0.1)
    assert make_objective("sigmoid", label_smoothing=0.0) == ManyLabels()
    with pytest.raises(ValueError, match="unknown loss 'sigmiod': did you mean 'sigmoid'"):
        make_objective("sigmiod", label_smoothing=0.0)
    for smoothing in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"label_smoothing is {smoothing}"):
            make_objective("softmax", label_smoothing=smoothing)
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.1"):
        make_objective("sigmoid", label_smoothing=0.1)
