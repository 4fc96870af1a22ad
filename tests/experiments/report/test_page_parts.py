"""Parts of the web page: choice of examples, counts (compared with sklearn) and charts."""

import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from experiments.figures.contact_sheets import Scales
from experiments.report import charts, elements, examples, results
from experiments.run import predictions
from perceiver.training.logging.metric_kinds import LEARNING_RATE, LOSS, TOP1
from tests.experiments.report.runs import one_label


def test_confusion_matrix_against_sklearn():
    draw = np.random.default_rng(0)
    label, predicted = draw.integers(7, size=(2, 500))
    found = one_label(label, predicted)
    np.testing.assert_array_equal(
        results.confusion(found), confusion_matrix(label, predicted, labels=range(7))
    )
    assert results.confusion(found, 9).shape == (9, 9)
    # Examples with scores of NaN have no prediction.
    broken = dataclasses.replace(found, label_probability=np.where(np.arange(500) < 9, np.nan, 0.5))
    assert results.confusion(broken).sum() == 491


def test_many_classes_are_shown_as_confused_pairs():
    label = np.repeat(np.arange(60), 4)
    predicted = label.copy()
    predicted[8:11] = 59  # three of the four examples of class 2
    predicted[0] = 1
    found = one_label(label, predicted, k=5)
    heading, content = results.classes(found, results.Names(()))
    assert heading == "Confusions"
    assert "matrix" not in content
    pairs = re.sub("<[^>]*>", " ", content.partition("<details")[0]).split("of the class")[1]
    text = " ".join(pairs.split())
    assert text == "class 2 class 59 3 75.0% class 0 class 1 1 25.0%"
    worst = re.sub("<[^>]*>", " ", content.partition("precision</th>")[2]).split()
    assert " ".join(worst).startswith("class 2 25.0% 1 of 4 100.0% class 0 75.0%")


def many_labels():
    """Returns predictions of 3 examples with their 2 most likely of 4 classes."""
    return predictions.ManyLabels(
        index=np.arange(3, dtype=np.int32),
        classes=np.array([[1, 0], [2, 3], [3, 1]], np.int32),
        probabilities=np.array([[0.9, 0.5], [0.1, 0.1], [0.8, 0.4]], np.float32),
        starts=np.array([0, 1, 1, 3]),
        labels=np.array([1, 0, 3], np.int32),
        label_probabilities=np.array([0.9, 0.2, 0.8], np.float32),
        average_precision=np.array([0.25, 0.5, np.nan, 1.0]),
    )


def test_losses_and_chosen_examples_by_hand():
    found = one_label([0, 0, 1, 2], [0, 1, 1, 0], probability=0.5)
    np.testing.assert_allclose(examples.losses(found), -np.log([0.5, 0.25, 0.5, 0.25]))
    assert examples.choose(found) == ([0, 2], [3, 1])
    assert examples.choose(found, best=1, worst=1) == ([0], [3])
    broken = dataclasses.replace(found, label_probability=np.float32([0.5, 0.25, np.nan, 0.25]))
    assert examples.choose(broken) == ([0], [2, 3, 1])
    many = many_labels()
    by_hand = [
        -np.log(0.9) - np.log(1 - 0.5),  # its label, and the other likely class
        -2 * np.log(1 - 0.1),
        -np.log(0.2) - np.log(0.8) - np.log(1 - 0.4),
    ]
    np.testing.assert_allclose(examples.losses(many), by_hand, rtol=1e-6)
    # An example without a label is never among the best; it may be among the worst.
    assert examples.choose(many) == ([0, 2], [1])
    assert examples.choose(many, best=1) == ([0], [2, 1])


def test_average_precisions_of_several_labels():
    heading, content = results.classes(many_labels(), results.Names(tuple("abcd")))
    assert heading == "Classes"
    text = " ".join(re.sub("<[^>]*>", " ", content).split())
    assert "1 classes are in no example" in text
    assert "Found best" not in text
    assert text.endswith("examples a 25.0% 1 b 50.0% 1 d 100.0% 1")
    draw = np.random.default_rng(0)
    many = dataclasses.replace(many_labels(), average_precision=draw.permutation(30) / 100)
    _, content = results.classes(many, results.Names(()))
    text = " ".join(re.sub("<[^>]*>", " ", content).split())
    shown = [re.findall(r"(\d+)\.0%", part) for part in re.split("Found|Every class", text)[1:]]
    assert shown[0] == [str(29 - i) for i in range(12)]
    assert shown[1] == [str(i) for i in range(12)]
    assert shown[2] == [str(i) for i in range(30)]


def test_positions_of_points_in_a_chart():
    """The points have linear positions, and NaN makes a gap."""
    points = [(0, 0.0), (50, 1.0), (75, float("nan")), (100, 0.25)]
    svg = charts.chart("Top-1", [charts.Curve("a <b>", points, 0, "eval")], TOP1)
    places = re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*><title>', svg)
    (x0, y0), (x1, y1), (x2, y2) = (tuple(map(float, place)) for place in places)
    assert x1 - x0 == pytest.approx((x2 - x0) / 2, abs=0.1)
    assert (y0 - y2) / (y0 - y1) == pytest.approx(0.25, abs=0.01)
    first, second, third = map(" ".join, places)
    assert f'd="M {first} L {second} M {third} "' in " ".join(svg.split())
    assert "a &lt;b&gt;, step 50: 100.00%" in svg
    assert "ends at 25.00%" in svg


def test_charts_of_decaying_values_are_logarithmic_except_for_a_cosine():
    step = np.arange(101)
    decay = 10.0 ** -(step // 25)
    cosine = (1 + np.cos(np.pi * np.minimum(step, 99.99) / 100)) / 2

    def middle(values):
        curve = charts.Curve(
            "rate", list(zip(step.tolist(), values.tolist(), strict=True)), 0, "eval"
        )
        (axes,) = charts.draw([curve], LEARNING_RATE)[0].axes
        _, ys = axes.transData.transform(axes.lines[0].get_xydata()).T
        return (ys[30] - min(ys)) / (max(ys) - min(ys))

    assert middle(decay) == pytest.approx(3 / 4, abs=0.01)  # 0.1, of 1 to 0.0001
    assert middle(cosine) == pytest.approx(cosine[30], abs=0.01)


def test_a_long_noisy_line_is_drawn_as_a_running_mean_of_few_points():
    points = [(step, step % 2 + 0.5) for step in range(1000)]
    figure, hover_texts = charts.draw([charts.Curve("training", points, 0, "train")], LOSS)
    (line,) = figure.axes[0].lines
    assert len(line.get_ydata()) == 100
    np.testing.assert_allclose(line.get_ydata(), 1)  # the mean of 0.5 and 1.5 is 1 everywhere
    assert not hover_texts
    assert len(charts.chart("Loss", [charts.Curve("training", points, 0, "train")], LOSS)) < 13_000


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("image", (8, 8, 1), np.uint8),
        ("image", (100, 100, 3), np.uint8),
        ("points", (200, 3), np.float32),
        ("audio", (4800,), np.int16),
        ("spectrogram", (40, 64), np.float16),
        ("video", (16, 32, 32, 3), np.uint8),
    ],
)
def test_inputs_of_every_modality_are_drawn(name, shape, dtype):
    draw = np.random.default_rng(0)
    array = draw.uniform(-1, 1, shape) if name == "points" else draw.integers(0, 255, shape)
    data = examples.draw_input(name, array.astype(dtype), Scales(48_000, 25, mel_hop=480))
    assert str(elements.picture(data, "x")).startswith('<img src="data:image/')
    assert len(data) < 60_000
    if name == "image":  # unchanged, enlarged by a whole factor
        found = np.asarray(Image.open(io.BytesIO(data)), float).reshape(-1, *shape[1:])
        side = 224 // shape[0]
        assert len(found) * found.shape[1] == shape[0] * shape[1] * side * side
