"""Compares the predictions of evaluation with NumPy, on several devices and in their file."""

import json

import jax
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from experiments.run import predictions
from experiments.run.evaluator import Evaluator
from perceiver.data.dataset import Source
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from perceiver.training.objectives import make_objective
from perceiver.training.parallel import DataParallel
from tests.processes import TINY, run
from tests.training.test_parallel import on_four_devices

pytestmark = pytest.mark.usefixtures("quick_compilation")

E, CLASSES = 23, 12


def scores(classes=CLASSES):
    """Returns logits float64 [E, classes], label [E] and labels [E, classes]."""
    draw = np.random.default_rng(0)
    labels = (draw.random((E, classes)) < 0.2).astype(np.uint8)
    labels[:, 3] = 0  # a class without positives
    labels[5] = 0  # an example without labels
    return draw.normal(scale=3, size=(E, classes)), draw.integers(classes, size=E), labels


def evaluated(loss, logits, *, batch_size=4, **labels):
    """Returns results and predictions of a network with these logits."""

    def example(index, seed):
        targets = {name: tf.gather(tf.constant(value), index) for name, value in labels.items()}
        return {"points": tf.gather(tf.constant(np.float32(logits)), index), **targets}

    devices = DataParallel()
    evaluate = Evaluator(
        lambda variables, batch: batch["points"] * variables["one"],
        Source(len(logits), example),
        make_objective(loss, label_smoothing=0.0),
        devices,
        batch_size,
    )
    return evaluate(devices.replicate({"one": np.float32(1)}))


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("classes", [CLASSES, 4])
def test_one_label_against_numpy(classes):
    logits, label, _ = scores(classes)
    results, found = evaluated("softmax", logits, label=np.int32(label))
    p = softmax(logits)
    order = np.argsort(-p, axis=1)[:, : min(5, classes)]
    np.testing.assert_array_equal(found.index, np.arange(E))
    np.testing.assert_array_equal(found.label, label)
    np.testing.assert_array_equal(found.classes, order)
    np.testing.assert_allclose(found.probabilities, np.take_along_axis(p, order, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.label_probability, p[range(E), label], rtol=1e-5)
    assert found.right.mean() == pytest.approx(results["top1"])
    assert results["top1"] == pytest.approx((p.argmax(axis=1) == label).mean())


def test_among_equal_scores_the_label_is_last_and_nan_is_wrong():
    """The top-1 accuracy counts them in the same way."""
    logits = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [2.0, 1.0, 0.0], [np.nan, 1.0, 0.0]])
    results, found = evaluated("softmax", logits, label=np.int32([0, 1, 0, 1]))
    assert found.classes[:3].tolist() == [[1, 0, 2], [0, 1, 2], [0, 1, 2]]
    assert found.known.tolist() == [True, True, True, False]
    assert found.right.tolist() == [False, False, True, False]
    assert results["top1"] == 0.25


def test_many_labels_against_numpy():
    logits, _, labels = scores()
    results, found = evaluated("sigmoid", logits, labels=labels)
    p = 1 / (1 + np.exp(-logits))
    order = np.argsort(-p, axis=1)[:, :10]
    np.testing.assert_array_equal(found.index, np.arange(E))
    np.testing.assert_array_equal(found.classes, order)
    np.testing.assert_allclose(found.probabilities, np.take_along_axis(p, order, axis=1), rtol=1e-5)
    for i in range(E):
        part = slice(found.starts[i], found.starts[i + 1])
        np.testing.assert_array_equal(found.labels[part], np.flatnonzero(labels[i]))
        np.testing.assert_allclose(found.label_probabilities[part], p[i, labels[i] > 0], rtol=1e-5)
    for c in range(CLASSES):
        if labels[:, c].any():
            theirs = average_precision_score(labels[:, c], logits[:, c])
            assert found.average_precision[c] == pytest.approx(theirs)
        else:
            assert np.isnan(found.average_precision[c])
    assert results["mAP"] == pytest.approx(np.nanmean(found.average_precision))


# Calls `evaluated` in one of several processes and prints the predictions.
PROGRAM = """
import json, sys
import jax
import numpy as np

index, count, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if count > 1:
    jax.distributed.initialize(address, count, index)
from tests.experiments.run.test_predictions import evaluated, scores

logits, label, labels = scores()
_, one = evaluated("softmax", logits, batch_size=6, label=np.int32(label))
_, many = evaluated("sigmoid", logits, batch_size=6, labels=labels)
found = {**vars(one), **{f"many_{k}": v for k, v in vars(many).items()}}
print("found", json.dumps({name: np.asarray(x).tolist() for name, x in found.items()}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_processes_count_every_example_once(count):
    processes = on_four_devices(PROGRAM, count)
    logits, label, labels = scores()
    _, one = evaluated("softmax", logits, label=np.int32(label))
    _, many = evaluated("sigmoid", logits, labels=labels)
    expected = {**vars(one), **{f"many_{k}": v for k, v in vars(many).items()}}
    for process in processes:  # all have the same predictions
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        found = json.loads(out.partition("found ")[2])
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(np.array(found[name]), value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_written_predictions_are_read_unchanged(loss, tmp_path):
    logits, label, labels = scores()
    targets = {"label": np.int32(label)} if loss == "softmax" else {"labels": labels}
    _, found = evaluated(loss, logits, **targets)
    assert predictions.read(tmp_path) is None
    predictions.write(tmp_path, 7, "held_out", found)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.npz"]
    saved = predictions.read(tmp_path)
    assert (saved.step, saved.split) == (7, "held_out")
    assert type(saved.predictions) is type(found)
    jax.tree.map(np.testing.assert_array_equal, vars(saved.predictions), vars(found))


def without(name):
    def change(arrays):
        del arrays[name]

    return change


DAMAGED = {
    "cut short": (lambda data: data[:-40], "is damaged"),
    "no archive": (lambda _: b"step 1", "is damaged"),
    "empty": (lambda _: b"", "is damaged"),
    "one array": (lambda _: b"\x93NUMPY\x01\x00v\x00" + b" " * 117 + b"\n", "is damaged"),
}
CHANGED = {
    "an array missing": (without("label"), "is not of a version that is known"),
    "another array": (lambda x: x.update(more=np.zeros(3)), "is not of a version that is known"),
    "another kind": (lambda x: x.update(kind=np.array("x")), "is not of a version that is known"),
    "another length": (lambda x: x.update(label=np.zeros(3, int)), "label has the shape (3,)"),
    "no classes": (
        lambda x: x.update(classes=np.zeros((E, 0)), probabilities=np.zeros((E, 0))),
        "classes have the shape (23, 0)",
    ),
    "another split": (lambda x: x.update(split=np.array("test")), "no example of a split"),
    "objects": (lambda x: x.update(label=np.array([{}] * E)), "is damaged"),
}


@pytest.mark.parametrize("name", [*DAMAGED, *CHANGED])
def test_a_damaged_file_is_named(name, tmp_path):
    logits, label, _ = scores()
    predictions.write(tmp_path, 7, "eval", evaluated("softmax", logits, label=np.int32(label))[1])
    path = tmp_path / "predictions.npz"
    if name in DAMAGED:
        change, message = DAMAGED[name]
        path.write_bytes(change(path.read_bytes()))
    else:
        change, message = CHANGED[name]
        with np.load(path) as file:
            arrays = dict(file)
        change(arrays)
        np.savez(path, **arrays)
    with pytest.raises(InputError) as caught:
        predictions.read(tmp_path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_train_and_evaluate_write_predictions(tmp_path):
    """Their top-1 accuracy is that of eval.json, and they name the split."""
    arguments = [*TINY, f"--workdir={tmp_path}", "--config.data.held_out=0.2"]
    run("train", *arguments)
    saved = predictions.read(tmp_path)
    result = json.loads((tmp_path / "eval.json").read_text())
    assert (saved.step, saved.split) == (12, "held_out")
    assert saved.predictions.right.mean() == pytest.approx(result["held_out"]["top1"])
    np.testing.assert_array_equal(saved.predictions.index, np.arange(287))
    run("evaluate", *arguments, "--config.eval.batch_size=77", devices=3)
    saved = predictions.read(tmp_path)
    result = json.loads((tmp_path / "eval.json").read_text())
    assert (saved.step, saved.split) == (12, "eval")
    assert saved.predictions.right.mean() == pytest.approx(result["top1"])
    np.testing.assert_array_equal(saved.predictions.index, np.arange(360))
