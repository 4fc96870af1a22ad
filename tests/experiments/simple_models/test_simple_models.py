"""Compares simple models with direct calls of scikit-learn, and features with values by hand."""

import json
import tracemalloc

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from experiments.simple_models.__main__ import (
    LabelledFeatures,
    check_size,
    choose_strength,
    linear,
    logistic,
    nearest_neighbour,
    read_features,
    score,
)
from experiments.simple_models.features import features
from perceiver.data.dataset import Source
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from tests.processes import finish, run, start


def test_digits_against_direct_calls_of_scikit_learn(tmp_path):
    """Uses the split of perceiver/data/digits.py, whose scale cancels in standardisation."""
    data = load_digits()
    train, held, y, truth = train_test_split(
        data.data, data.target, test_size=360, stratify=data.target, random_state=0
    )
    out, _ = run("simple_models", "--config=configs/digits.py", f"--workdir={tmp_path}/new")
    results = json.loads((tmp_path / "new" / "simple_models.json").read_text())
    found = results["models"]
    assert (results["train_examples"], results["num_examples"], results["features"]) == (
        1437,
        360,
        64,
    )
    nearest = KNeighborsClassifier(1).fit(train, y).score(held, truth)
    assert found["nearest neighbour"]["top1"] == pytest.approx(nearest)
    strength = float(found["linear"]["note"].removeprefix("C = "))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    with threadpool_limits(1):
        accuracy = model.fit(train, y).score(held, truth)
    assert accuracy > 0.95
    assert found["linear"]["top1"] == pytest.approx(accuracy, abs=1 / 360)  # float32 or 64
    for name, row in found.items():
        (line,) = [x for x in out.splitlines() if x.startswith(name)]
        assert f"{row['top1']:.2%}" in line
        assert " 360 " in line


def test_shares_of_points_by_hand():
    """Cells are 0.25 wide, from -1; their strides are 64, 8 and 1."""
    low, high, middle = [-1, -1, -1], [1, 1, 1], [0, 0, 0]  # 1 is in the last cell, 0 in the fifth
    other = [-0.74, -0.76, 0.3]  # cells 1, 0, 5
    points = np.array([[low, high, middle, middle], [other, other, other, high]], np.float32)
    expected = np.zeros((2, 512))
    expected[0, [0, 511, 4 * 64 + 4 * 8 + 4]] = [0.25, 0.25, 0.5]
    expected[1, [1 * 64 + 0 * 8 + 5, 511]] = [0.75, 0.25]
    np.testing.assert_array_equal(features("points", points, windows=False), expected)
    shuffled = features("points", points[:, [2, 0, 3, 1]], windows=False)
    np.testing.assert_array_equal(shuffled, expected)


def test_statistics_of_a_spectrogram_by_hand():
    spectrogram = np.array([[[1, -6], [3, -6], [5, -6]]], np.float16)
    expected = [[3, -6, np.sqrt(8 / 3), 0]]
    found = features("spectrogram", spectrogram, windows=False)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_power_of_a_tone_by_hand():
    """Bands are 375 Hz wide and have 480 frequencies of 61,440 samples. By Parseval's theorem, a
    sine of amplitude 1/2 has the power n/16 at its frequency."""
    time = np.arange(61_440) / 48_000
    tone = np.round(2**14 * np.sin(2 * np.pi * 10_000 * time)).astype(np.int16)
    (found,) = features("audio", tone[None], windows=False)
    assert found.shape == (64,)
    assert found.argmax() == 10_000 // 375
    assert found.max() == pytest.approx(np.log(61_440 / 16 / 480), abs=1e-3)
    later = features("audio", np.roll(tone, 1000)[None], windows=False)[0]
    assert later[26] == pytest.approx(found[26])
    silence = features("audio", np.full((1, 1920), 5, np.int16), windows=False)
    np.testing.assert_allclose(silence, np.log(1e-10))


@pytest.mark.parametrize(("size", "side"), [(8, 8), (16, 16), (64, 16), (40, 16)])
def test_frames_are_averaged_over_time_and_place(size, side):
    video = np.random.default_rng(0).integers(0, 256, (2, 3, size, size, 3), np.uint8)
    found = features("video", video, windows=False).reshape(2, side, side, 3)
    edges = [i * size // side for i in range(side + 1)]
    for i, j in ((0, 0), (side - 1, 2), (5, side - 1)):
        patch = video[:, :, edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
        expected = patch.astype(float).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-6)


def test_features_are_averaged_over_windows_and_joined_over_modalities():
    values = tf.constant(np.arange(5 * 3 * 2).reshape(5, 3, 2), tf.float32)
    labels = tf.constant([0, 1, 1, 0, 2])

    def example(index, _):
        own = values[index]
        return {"image": own, "other": own[:, :1] * 10, "label": labels[index]}

    split = read_features(Source(5, example, eval_windows=3), ["image", "other"], num_classes=3)
    # The windows of example i begin with 6 i, 6 i + 2 and 6 i + 4.
    i = 6 * np.arange(5)
    np.testing.assert_array_equal(split.features, np.stack([i + 2, i + 3, 10 * i + 20], axis=1))
    np.testing.assert_array_equal(split.labels, np.eye(3)[[0, 1, 1, 0, 2]])
    assert split.widths == (2, 1)


def test_nearest_neighbours_weigh_modalities_equally():
    """Without scaling, the second modality's 1,000 would dominate."""
    train = LabelledFeatures(np.float32([[0, 0], [2, 1000]]), np.uint8([[1, 0], [0, 1]]), (1, 1))
    scores, _ = nearest_neighbour(train, np.float32([[0.1, 600], [2.1, 400]]))
    # Standard deviations are 1 and 500, so the distances of the first example are (0.1, 1.2) and
    # (1.9, 0.8), and those of the second (2.1, 0.8) and (0.1, 1.2).
    np.testing.assert_array_equal(scores, [[1, 0], [0, 1]])


def test_two_classes_and_a_class_without_training_examples():
    features = np.float32([[-3], [-2], [2], [3]])
    labels = np.uint8([[0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]])
    scores, _ = logistic(
        LabelledFeatures(features, labels, (1,)), features, one_label=True, strength=1.0
    )
    assert score(scores, labels, one_label=True) == 1
    assert (scores[:, 0] == -np.inf).all()


def test_several_labels_by_class():
    """Labels are the signs of the features; the third class has no examples."""
    draw = np.random.default_rng(0)
    points = draw.normal(size=(400, 2)).astype(np.float32)
    labels = np.concatenate([points > 0, np.zeros((400, 1))], axis=1).astype(np.uint8)
    train, held = LabelledFeatures(points[:300], labels[:300], (2,)), labels[300:]
    scores, note = linear(train, points[300:], one_label=False)
    assert score(scores, held, one_label=False) > 0.999
    assert note.startswith("C = ")
    assert len(set(scores[:, 2])) == 1
    scores, _ = nearest_neighbour(train, points[300:])
    assert 0.8 < score(scores, held, one_label=False) < 1


def test_the_strength_is_chosen_by_cross_validation():
    """One of 200 features separates the classes, so strong regularisation is better."""
    draw = np.random.default_rng(0)
    labels = np.arange(100) % 2
    noisy = draw.normal(size=(100, 200)).astype(np.float32)
    noisy[:, 0] += 4 * labels
    assert (
        choose_strength(LabelledFeatures(noisy, np.eye(2)[labels], (200,)), one_label=True) <= 0.1
    )
    few = LabelledFeatures(noisy[:2], np.eye(2)[labels[:2]], (200,))
    assert choose_strength(few, one_label=True) == 1


def test_data_that_does_not_fit_into_memory_is_refused():
    image = tf.zeros([224, 224, 3], tf.uint8)
    source = Source(6_642, lambda index, seed: {"image": image, "label": 0 * index})
    check_size([source], ["image"])  # 6,642 * 150,528 * 4 bytes are 3.9993 GB
    one = Source(2, source.example)
    with pytest.raises(
        InputError, match=r"6,644 examples of 150,528 features take 4\.0 GB, and fo"
    ):
        check_size([source, one], ["image"])


def test_fitting_takes_four_times_the_features():
    """The error message states this. NumPy reports its allocations to tracemalloc."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(1000, 2000)).astype(np.float32)
    features[:, 0] += 4 * (np.arange(1000) % 2)
    train = LabelledFeatures(features, np.eye(2)[np.arange(1000) % 2], (2000,))
    tracemalloc.start()
    linear(train, features[:100], one_label=True)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 3.5 < (features.nbytes + most) / features.nbytes < 4.2


def test_a_user_error_is_one_line(tmp_path):
    for arguments, message in (
        (["--config=configs/folder.py", f"--config.data.dir={tmp_path}/none"], f"{tmp_path}/none"),
        (["--config=configs/digits.py", "--config.train.loss=sigmoid"], "label_smoothing"),
        ([], "--config is missing"),
    ):
        _, err = finish(start("simple_models", *arguments), status=2)
        (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
        assert message in line
        assert "Traceback" not in err


@pytest.mark.slow
def test_real_clouds_are_classified(real_data):
    """Shares of cells classify ModelNet10 well; its largest class has 11% of examples."""
    out, _ = run(
        "simple_models",
        "--config=configs/modelnet40.py:small",
        f"--config.data.dir={real_data}/modelnet10_hdf5_1024",
        timeout=1200,
    )
    assert "3,991 training and 908 evaluation examples, 512 features of points" in out
    for name in ("linear", "nearest neighbour"):
        (line,) = [x for x in out.splitlines() if x.startswith(name)]
        assert 80 < float(line.removeprefix(name).split("%")[0]) < 90
