"""Curves of a run, drawn from its metrics: loss, accuracy and learning rate against the step."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from perceiver.training.files import replace_file
from perceiver.training.logs import read_metrics

_COLOURS = {"train": "#3b6ea5", "eval": "#d1642b"}  # apart to colour-blind eyes too
_SMOOTHED_FROM = 100  # points; below, the eye does it


def draw_curves(workdir: str | Path, out: str | Path | None = None) -> Path:
    """Draws what a run logged so far.

    Args:
      workdir: the directory of the run.
      out: the PNG to write; None is `curves.png` in `workdir`.

    Returns:
      The path of the picture.

    Raises:
      FileNotFoundError: the directory has no metrics.
      ValueError: its metrics have no line yet.
    """
    records = read_metrics(workdir)
    if not records:
        raise ValueError(f"{workdir} has no metrics yet: wait for the first log step.")
    figure = Figure(figsize=(8, 8.5), layout="constrained")
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 1.6))
    _draw(loss, records, "loss", title="Loss", unit="loss (nats)")
    if any("mAP" in record for record in records):
        _draw(accuracy, records, "mAP", title="Mean average precision", unit="mAP")
    else:
        _draw(accuracy, records, "top1", title="Accuracy", unit="top-1 accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    _draw(rate, records, "learning_rate", title="Learning rate", unit="rate")
    rates = [record["learning_rate"] for record in records if "learning_rate" in record]
    if rates and max(rates) > 50 * min(rates) > 0:  # several divisions by ten
        rate.set_yscale("log")
    rate.set_xlabel("step")
    rate.xaxis.set_major_formatter(EngFormatter(sep=""))
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    path = Path(workdir) / "curves.png" if out is None else Path(out)
    replace_file(path, picture.getvalue())
    return path


def _draw(axes: Axes, records: Sequence[dict], name: str, *, title: str, unit: str) -> None:
    """One panel: a metric of both splits against the step; says so where it was not logged."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    for split, colour in _COLOURS.items():
        points = [(r["step"], r[name]) for r in records if r["split"] == split and name in r]
        if not points:
            continue
        steps, values = np.asarray(points, float).T
        label = split
        # Batches are noisy; evaluations and learning rates are not, and their corners matter.
        if split == "train" and name != "learning_rate" and len(points) >= _SMOOTHED_FROM:
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
            steps, values = _running_mean(steps, values)
            label = f"{split}, running mean"
        axes.plot(
            steps,
            values,
            color=colour,
            linewidth=1.6,
            marker="o" if len(points) <= 50 else None,  # one point is no line
            markersize=4,
            label=f"{label}, last {_format(name, values[-1])}",
        )
    if axes.lines:
        axes.legend(frameon=False, fontsize=9)
    else:
        axes.text(
            0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", va="center", color="grey"
        )


def _format(name: str, value: float) -> str:
    return (
        f"{100 * value:.1f}%"
        if name in ("top1", "mAP") and math.isfinite(value)
        else f"{value:.4g}"
    )


def _running_mean(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over windows of a fiftieth of the points, at the windows' middles."""
    window = max(3, len(values) // 50)
    weights = np.full(window, 1 / window)
    return np.convolve(steps, weights, "valid"), np.convolve(values, weights, "valid")
