"""Curves show the logged metrics, and their pictures are written completely."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from experiments.figures import curves
from experiments.figures.curves import MOST_RUNS, draw_comparison, draw_curves
from perceiver.training.logging.metric_kinds import primary_metric
from perceiver.training.logging.metrics import MetricLog, read_metrics


@pytest.fixture
def figures(monkeypatch):
    """A list of the drawn figures."""
    drawn = []

    class RecordedFigure(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            drawn.append(self)

    monkeypatch.setattr(curves, "Figure", RecordedFigure)
    return drawn


def log(workdir, *writes):
    with MetricLog(workdir, resume_step=0) as metrics:
        for step, split, values in writes:
            metrics.write(step, split, **values)


def panels(figure):
    """Returns {title: {label up to the first comma: (steps, values)}}."""
    return {
        axes.get_title(loc="left"): {
            line.get_label().split(",")[0]: line.get_data()
            for line in axes.lines
            if not line.get_label().startswith("_")
        }
        for axes in figure.axes
    }


def test_panels_show_the_logged_metrics(tmp_path, figures):
    log(
        tmp_path,
        (10, "train", {"loss": 2.0, "top1": 0.1, "learning_rate": 1e-3}),
        (20, "train", {"loss": 1.0, "top1": 0.4, "learning_rate": 1e-4}),
        (20, "eval", {"loss": 1.5, "top1": 0.3}),
    )
    path = draw_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    height, width, _ = imread(path).shape
    assert height > 600
    assert width > 600
    shown = panels(figures[0])
    assert list(shown) == ["Loss", "Accuracy", "Learning rate"]
    np.testing.assert_array_equal(shown["Loss"]["train"], [[10, 20], [2.0, 1.0]])
    np.testing.assert_array_equal(shown["Loss"]["eval"], [[20], [1.5]])
    np.testing.assert_array_equal(shown["Accuracy"]["train"], [[10, 20], [0.1, 0.4]])
    np.testing.assert_array_equal(shown["Accuracy"]["eval"], [[20], [0.3]])
    np.testing.assert_array_equal(shown["Learning rate"]["train"], [[10, 20], [1e-3, 1e-4]])


def test_missing_metrics_are_marked_in_their_panels(tmp_path, figures):
    log(tmp_path, (1, "train", {"loss": float("nan")}))
    draw_curves(tmp_path, tmp_path / "other.png")
    assert imread(tmp_path / "other.png").size
    shown = panels(figures[0])
    assert list(shown["Loss"]) == ["train"]
    assert shown["Accuracy"] == shown["Learning rate"] == {}
    assert [text.get_text() for text in figures[0].axes[1].texts] == ["not logged"]


def test_many_points_have_a_running_mean(tmp_path, figures):
    steps = np.arange(1, 401)
    noise = np.random.default_rng(0).normal(size=400)
    log(tmp_path, *((s, "train", {"loss": 3 + n}) for s, n in zip(steps, noise, strict=True)))
    draw_curves(tmp_path)
    raw, mean = figures[0].axes[0].lines
    np.testing.assert_array_equal(raw.get_ydata(), 3 + noise)
    windows = np.lib.stride_tricks.sliding_window_view(3 + noise, 8)
    np.testing.assert_allclose(mean.get_ydata(), windows.mean(axis=1))
    np.testing.assert_allclose(mean.get_xdata(), np.arange(4.5, 397))


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    log(tmp_path, (1, "train", {"loss": 1.0}))
    (tmp_path / "curves.png").write_bytes(b"old")

    def fail(self, file, **_):
        file.write(b"half a picture")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", fail)
        with pytest.raises(OSError, match="disk full"):
            draw_curves(tmp_path)
    assert (tmp_path / "curves.png").read_bytes() == b"old"
    draw_curves(tmp_path)
    assert imread(io.BytesIO((tmp_path / "curves.png").read_bytes())).size


def test_a_run_without_metrics_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="working directory"):
        draw_curves(tmp_path)
    MetricLog(tmp_path, resume_step=0).close()
    assert read_metrics(tmp_path) == []
    with pytest.raises(ValueError, match="no metrics yet"):
        draw_curves(tmp_path)


@pytest.mark.parametrize(
    ("steps", "expected"), [([1], ["1"]), ([1, 2], ["1", "2"]), ([0, 2_000_000], ["0", "1M", "2M"])]
)
def test_ticks_are_whole_steps(tmp_path, figures, steps, expected):
    log(tmp_path, *((step, "train", {"loss": 1.0}) for step in steps))
    draw_curves(tmp_path)
    axes = figures[0].axes[-1]
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    shown = [label.get_text() for tick, label in ticks if low <= tick <= high]
    assert set(expected) <= set(shown)
    assert len(steps) > 1 or shown == expected
    assert not any("m" in label for label in shown)


def test_a_value_that_is_not_a_number_is_named(tmp_path):
    log(tmp_path, (1, "train", {"loss": 1.0}))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "split": "train", "loss": "low"}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 has loss 'low', which is no num"):
        draw_curves(tmp_path)


def run_of(folder, name, *writes):
    log(folder / name, *writes)
    return read_metrics(folder / name)


def test_runs_share_panels(tmp_path, figures):
    noise = np.random.default_rng(0).normal(size=400)
    noisy = [(s + 1, "train", {"loss": 3 + n}) for s, n in enumerate(noise)]
    runs = {
        "a": run_of(
            tmp_path,
            "a",
            (1, "train", {"loss": 2.0, "top1": 0.2, "learning_rate": 0.5}),
            (2, "eval", {"loss": 9.0, "top1": 0.3}),
            (4, "eval", {"loss": 9.0, "top1": 0.4}),
        ),
        "b": run_of(tmp_path, "b", *noisy, (400, "eval", {"loss": 9.0, "top1": 0.6})),
        "without evaluation": run_of(tmp_path, "c", (7, "train", {"loss": 1.5})),
    }
    path = draw_comparison(runs, tmp_path / "both.png")
    assert path == tmp_path / "both.png"
    assert imread(path).size
    shown = panels(figures[0])
    assert list(shown) == ["Accuracy, evaluation", "Loss, training", "Learning rate"]
    accuracy, loss, rate = shown.values()
    assert list(accuracy) == ["a", "b"]
    np.testing.assert_array_equal(accuracy["a"], [[2, 4], [0.3, 0.4]])
    np.testing.assert_array_equal(accuracy["b"], [[400], [0.6]])
    assert list(loss) == ["a", "b", "without evaluation"]
    np.testing.assert_array_equal(loss["a"], [[1], [2.0]])
    assert list(rate) == ["a"]
    np.testing.assert_array_equal(rate["a"], [[1], [0.5]])
    windows = np.lib.stride_tricks.sliding_window_view(3 + noise, 8)
    np.testing.assert_allclose(loss["b"][1], windows.mean(axis=1))
    (legend,) = figures[0].legends
    assert not any(text.get_parse_math() for text in legend.get_texts())
    entries = zip(legend.get_texts(), legend.get_lines(), strict=True)
    colours = {text.get_text(): line.get_color() for text, line in entries}
    assert list(colours) == list(runs)
    for axes in figures[0].axes:
        for line in axes.lines:
            name = line.get_label().split(",")[0]
            if not name.startswith("_"):
                assert line.get_color() == colours[name]


def test_each_metric_has_its_own_panel(tmp_path, figures):
    """mAP and accuracy, and the held-out part and the evaluation split, have different axes."""
    sounds = run_of(tmp_path, "a", (1, "eval", {"loss": 1.0, "mAP": 0.25}))
    assert primary_metric(sounds) == "mAP"
    draw_comparison({"a": sounds}, tmp_path / "a.png")
    shown = panels(figures[0])
    np.testing.assert_array_equal(shown["Mean average precision, evaluation"]["a"], [[1], [0.25]])
    assert [text.get_text() for text in figures[0].axes[1].texts] == ["not logged"]
    test = run_of(tmp_path, "b", (1, "eval", {"loss": 1.0, "top1": 0.5}))
    held_out = run_of(tmp_path, "c", (2, "eval", {"loss": 1.0, "top1": 0.75}))
    draw_comparison({"a": sounds, "b": test, "c": held_out}, tmp_path / "all.png", held_out=["c"])
    shown = panels(figures[1])
    assert {title: list(lines) for title, lines in shown.items()} == {
        "Mean average precision, evaluation": ["a"],
        "Accuracy, evaluation": ["b"],
        "Accuracy, held-out part": ["c"],
        "Loss, training": [],
        "Learning rate": [],
    }


def test_the_legend_shows_special_characters_unchanged(tmp_path, figures):
    names = ["_hidden", "$\\frac{$", "-x; $(touch y)", "a" * 99 + "b" * 99]
    drawn = {name: [{"step": 1, "split": "train", "loss": 1.0}] for name in names}
    draw_comparison(drawn, tmp_path / "names.png")
    shown = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert shown == [*names[:3], "a" * 48 + "..." + "b" * 48]
    extent = figures[0].legends[0].get_window_extent()
    assert 0 <= extent.x0 < extent.x1 <= figures[0].bbox.width


# Matrices for linear red, green and blue at full severity: Machado, Oliveira and Fernandes (2009).
PROTANOPIA = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]
DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]
TO_XYZ = [
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505],
]  # of linear sRGB


def lab(colour, eye):
    """Returns CIE L*a*b* of a colour as an eye perceives it."""
    rgb = np.asarray(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    perceived = np.clip(eye @ linear, 0, 1)
    x, y, z = np.cbrt(TO_XYZ @ perceived / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", [np.eye(3), PROTANOPIA, DEUTERANOPIA])
def test_colour_blind_eyes_distinguish_runs(tmp_path, figures, eye):
    """Adjacent colours can be distinguished from a difference of 2.3."""
    runs = {f"run {i}": [{"step": 1, "split": "train", "loss": 1.0}] for i in range(MOST_RUNS)}
    draw_comparison(runs, tmp_path / "all.png")
    lines = figures[0].legends[0].get_lines()
    styles = [(line.get_color(), line.get_linestyle()) for line in lines]
    assert len(set(styles)) == MOST_RUNS
    colours = sorted({colour for colour, _ in styles})
    for i, one in enumerate(colours):
        for other in colours[:i]:
            assert np.linalg.norm(lab(one, eye) - lab(other, eye)) > 4 * 2.3
    with pytest.raises(ValueError, match=f"give {MOST_RUNS}"):
        draw_comparison({**runs, "one more": []}, tmp_path / "more.png")
