"""Curves: a picture is written, whole, and has what was logged in it."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from perceiver.training import curves
from perceiver.training.curves import draw_curves
from perceiver.training.logs import MetricLog


@pytest.fixture
def figures(monkeypatch):
    """The figures drawn, for a look at what is in them."""
    drawn = []

    class Kept(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            drawn.append(self)

    monkeypatch.setattr(curves, "Figure", Kept)
    return drawn


def log(workdir, *writes):
    with MetricLog(workdir, resume_step=0) as metrics:
        for step, split, values in writes:
            metrics.write(step, split, **values)


def panels(figure):
    """{title: {first word of the label: (steps, values)}}."""
    return {
        axes.get_title(loc="left"): {
            line.get_label().split(",")[0]: line.get_data()
            for line in axes.lines
            if not line.get_label().startswith("_")
        }
        for axes in figure.axes
    }


def test_three_panels_of_what_was_logged(tmp_path, figures):
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


def test_one_point_without_evaluation_or_accuracy(tmp_path, figures):
    log(tmp_path, (1, "train", {"loss": float("nan")}))
    draw_curves(tmp_path, tmp_path / "other.png")
    assert imread(tmp_path / "other.png").size
    shown = panels(figures[0])
    assert list(shown["Loss"]) == ["train"]
    assert shown["Accuracy"] == shown["Learning rate"] == {}
    assert [text.get_text() for text in figures[0].axes[1].texts] == ["not logged"]


def test_many_points_get_a_running_mean(tmp_path, figures):
    steps = np.arange(1, 401)
    noise = np.random.default_rng(0).normal(size=400)
    log(tmp_path, *((s, "train", {"loss": 3 + n}) for s, n in zip(steps, noise, strict=True)))
    draw_curves(tmp_path)
    raw, mean = figures[0].axes[0].lines
    np.testing.assert_array_equal(raw.get_ydata(), 3 + noise)
    windows = np.lib.stride_tricks.sliding_window_view(3 + noise, 8)
    np.testing.assert_allclose(mean.get_ydata(), windows.mean(axis=1))
    np.testing.assert_allclose(mean.get_xdata(), np.arange(4.5, 397))


def test_the_picture_is_replaced_whole(tmp_path, monkeypatch):
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


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="working directory"):
        draw_curves(tmp_path)
    MetricLog(tmp_path, resume_step=0).close()
    with pytest.raises(ValueError, match="no metrics yet"):
        draw_curves(tmp_path)
