"""Curves of runs: loss, accuracy and learning rate against the step, of one run or several."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.figures.charts import (
    LOOKS,
    save_png,
    set_step_axis,
    set_value_axis,
    style_axes,
)
from perceiver import run_files
from perceiver.errors import InputError
from perceiver.training.logging.metric_kinds import (
    LEARNING_RATE,
    LOSS,
    METRIC_KINDS,
    TOP1,
    MetricKind,
    primary_metric,
)
from perceiver.training.logging.metrics import read_metrics

MOST_RUNS = len(LOOKS)
_MOST_MARKERS = {"train": 10, "eval": 50}  # points of a line
_LONGEST_NAME = 100  # characters that fit in a legend
_SMOOTHED_FROM = 100  # points; shorter lines are readable as they are

Points = Sequence[tuple[float, float]]  # (step, value)


def draw_curves(workdir: str | Path, out: str | Path | None = None) -> Path:
    """Draws the metrics that a run has logged so far.

    Args:
      workdir: directory of the run.
      out: PNG file to write; None is `curves.png` in `workdir`.

    Returns:
      The path of the picture.

    Raises:
      FileNotFoundError: the directory has no metrics.
      InputError: the metrics are empty or damaged.
      OSError: the picture cannot be written.
    """
    records = read_metrics(workdir)
    if not records:
        raise InputError(f"{workdir} has no metrics yet: wait for the first log step.")
    figure = Figure(figsize=(8, 8.5), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 1.6))
    metric = METRIC_KINDS[primary_metric(records) or TOP1.name]
    for axes, kind in zip(panels, (LOSS, metric, LEARNING_RATE), strict=True):
        _draw_splits(axes, records, kind)
    set_step_axis(panels[-1])
    path = Path(workdir) / run_files.CURVES if out is None else Path(out)
    save_png(figure, path)
    return path


def draw_comparison(
    runs: Mapping[str, Sequence[dict[str, Any]]],
    out: str | Path,
    *,
    held_out: Collection[str] = (),
    software: str | None = None,
) -> Path:
    """Draws the evaluation metric, training loss and learning rate of several runs.

    Each metric, and each of the evaluation split and the held-out part, has a separate panel.

    Args:
      runs: metrics of each run, from `read_metrics`, by its name in the legend.
      out: PNG file to write.
      held_out: names of the runs that were evaluated on a held-out part of the training split.
      software: program to name in the PNG, under 'Software'; None names matplotlib.

    Returns:
      The path of the picture.

    Raises:
      InputError: there are more than MOST_RUNS runs.
      OSError: the picture cannot be written.
    """
    if len(runs) > MOST_RUNS:
        raise InputError(f"{len(runs)} runs are more than a chart can show: give {MOST_RUNS}.")
    evaluations = {name: (primary_metric(run), name in held_out) for name, run in runs.items()}
    evaluated = {(metric, part) for metric, part in evaluations.values() if metric is not None}
    drawn = sorted(evaluated) or [(TOP1.name, False)]
    columns = _legend_columns(runs)
    legend_height = 0.18 * -(-len(runs) // columns)
    figure = Figure(figsize=(9, 3.2 * len(drawn) + 4.8 + legend_height), layout="constrained")
    *panels, loss, rate = figure.subplots(
        len(drawn) + 2, 1, sharex=True, height_ratios=[4] * (len(drawn) + 1) + [1.6]
    )
    for axes, pair in zip(panels, drawn, strict=True):
        kind, part = METRIC_KINDS[pair[0]], "held-out part" if pair[1] else "evaluation"
        style_axes(axes, title=f"{kind.title}, {part}", unit=kind.unit)
        _draw_runs(axes, runs, kind, "eval", {n for n, x in evaluations.items() if x == pair})
    style_axes(loss, title=f"{LOSS.title}, training", unit=LOSS.unit)
    style_axes(rate, title=LEARNING_RATE.title, unit=LEARNING_RATE.unit)
    _draw_runs(loss, runs, LOSS, "train", runs)
    _draw_runs(rate, runs, LEARNING_RATE, "train", runs)
    _add_legend(figure, list(runs), columns)
    set_step_axis(rate)
    save_png(figure, Path(out), software=software)
    return Path(out)


def curve_points(
    records: Iterable[Mapping[str, Any]], name: str, split: str
) -> list[tuple[int, float]]:
    """Returns (step, value) wherever a run logged a metric of a split."""
    return [(r["step"], r[name]) for r in records if r["split"] == split and name in r]


def add_curve(
    axes: Axes,
    points: Points,
    kind: MetricKind,
    split: str,
    *,
    label: str,
    look: int,
    most_points: int | None = None,
) -> Line2D | None:
    """Draws a line over the steps, with markers if it is short; a long noisy line is smoothed.

    Args:
      axes: axes to draw in.
      points: (step, value); a value that is not finite makes a gap.
      kind: metric of the line.
      split: 'train' or 'eval'.
      label: name of the line.
      look: index into LOOKS.
      most_points: largest number of points of the running mean, which is then drawn alone; None
        draws all of them, over the values themselves.

    Returns:
      The line, or None if there are no points.
    """
    if not points:
        return None
    style, colour = LOOKS[look]
    steps, values = np.asarray(points, float).T
    # Metrics of batches are noisy. Evaluations and learning rates are not: their corners matter.
    noisy = split == "train" and kind != LEARNING_RATE
    if noisy and len(points) >= _SMOOTHED_FROM:
        if most_points is None:
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        steps, values = _running_mean(steps, values)
        if most_points is not None:
            chosen = np.linspace(0, len(steps) - 1, min(most_points, len(steps))).round()
            steps, values = steps[chosen.astype(int)], values[chosen.astype(int)]
        label = f"{label}, running mean"
    (line,) = axes.plot(
        steps,
        values,
        color=colour,
        linestyle=style,
        linewidth=1.6,
        marker="o" if len(points) <= _MOST_MARKERS[split] else None,  # a single point makes no line
        markersize=4,
        label=label,
        clip_on=False,  # or markers at 0 and 100% would be cut in half
    )
    return line


def _draw_splits(axes: Axes, records: Sequence[dict[str, Any]], kind: MetricKind) -> None:
    """Draws a metric of the training and evaluation split of one run."""
    style_axes(axes, title=kind.title, unit=kind.unit)
    for look, split in enumerate(("train", "eval")):
        points = curve_points(records, kind.name, split)
        line = add_curve(axes, points, kind, split, label=split, look=look)
        if line is not None:
            last = np.asarray(line.get_ydata())[-1]
            line.set_label(f"{line.get_label()}, last {kind.brief_text(last)}")
    set_value_axis(axes, kind)
    if axes.lines:
        axes.legend(frameon=False, fontsize=9)
    else:
        _write_not_logged(axes)


def _draw_runs(
    axes: Axes,
    runs: Mapping[str, Sequence[dict[str, Any]]],
    kind: MetricKind,
    split: str,
    shown: Collection[str],
) -> None:
    """Draws a metric of those runs whose names are in `shown`."""
    for look, (name, records) in enumerate(runs.items()):
        if name in shown:
            points = curve_points(records, kind.name, split)
            add_curve(axes, points, kind, split, label=name, look=look)
    set_value_axis(axes, kind)
    if not axes.lines:
        _write_not_logged(axes)


def _add_legend(figure: Figure, names: Sequence[str], columns: int) -> None:
    """Adds a legend of all runs below the panels."""
    handles = [
        Line2D([], [], color=colour, linestyle=style, linewidth=1.6)
        for style, colour in LOOKS[: len(names)]
    ]
    legend = figure.legend(
        handles=handles,
        labels=[str(number) for number in range(len(names))],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)  # a $ in a name is a $
        # Set after the legend is made, which leaves out labels that begin with _.
        text.set_text(_shortened(name))


def _legend_columns(names: Iterable[str]) -> int:
    """Returns the number of columns of the legend, at most three."""
    return max(1, min(3, 110 // (max(len(_shortened(name)) for name in names) + 10)))


def _shortened(name: str) -> str:
    """Returns a name that fits in the picture, with an ellipsis in place of its middle."""
    half = _LONGEST_NAME // 2 - 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}...{name[-half:]}"


def _write_not_logged(axes: Axes) -> None:
    axes.text(
        0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", va="center", color="grey"
    )


def _running_mean(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means over windows of a fiftieth of the points, and the middles of the windows."""
    window = max(3, len(values) // 50)
    weights = np.full(window, 1 / window)
    return np.convolve(steps, weights, "valid"), np.convolve(values, weights, "valid")
