"""Curves of a run, drawn from its metrics: loss, accuracy and learning rate against the step.

And curves of several runs in one picture: evaluation, training loss and learning rate.
"""

import io
import itertools
import math
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from perceiver.errors import InputError
from perceiver.training.files import replace_file
from perceiver.training.logging.metrics import METRICS_FILE, read_metrics

_COLOURS = {"train": "#3b6ea5", "eval": "#d1642b"}  # apart to colour-blind eyes too
# Okabe and Ito's, but for yellow, which is faint on white.
_COLOURS_OF_RUNS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_STYLES_OF_RUNS = ("-", "--", ":", "-.")  # once all colours are taken
MOST_RUNS = len(_COLOURS_OF_RUNS) * len(_STYLES_OF_RUNS)
_TITLES = {"top1": ("Accuracy", "top-1 accuracy"), "mAP": ("Mean average precision", "mAP")}
_MARKED = {"train": 10, "eval": 50}  # points, at most; evaluations are few, and apart
_LONGEST_NAME = 100  # characters that fit in a legend
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
      InputError: its metrics have no line yet.
    """
    records = read_run(workdir)
    if not records:
        raise InputError(f"{workdir} has no metrics yet: wait for the first log step.")
    figure = Figure(figsize=(8, 8.5), layout="constrained")
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 1.6))
    _draw(loss, records, "loss", title="Loss", unit="loss (nats)")
    metric = metric_of(records) or "top1"
    title, unit = _TITLES[metric]
    _draw(accuracy, records, metric, title=title, unit=unit)
    accuracy.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    _draw(rate, records, "learning_rate", title="Learning rate", unit="rate")
    _logarithmic_if_wide(rate)
    return _written(figure, rate, Path(workdir) / "curves.png" if out is None else Path(out))


def draw_comparison(
    runs: Mapping[str, Sequence[dict[str, Any]]],
    out: str | Path,
    *,
    held_out: Collection[str] = (),
    software: str | None = None,
) -> Path:
    """Draws several runs over each other: evaluation, training loss and learning rate.

    Evaluations get a panel for each metric, and for the test split and the part set apart.

    Args:
      runs: what each of them logged, as `read_run` gives it, by the name for the legend.
      out: the PNG to write.
      held_out: names of the runs that were evaluated on a part of the training split set apart.
      software: the program to name in the PNG, under 'Software'; None names matplotlib.

    Returns:
      The path of the picture.

    Raises:
      InputError: more than MOST_RUNS.
      OSError: the picture can't be written.
    """
    if len(runs) > MOST_RUNS:
        raise InputError(f"{len(runs)} runs are more than can be told apart: give {MOST_RUNS}.")
    evaluated = {name: (metric_of(run), name in held_out) for name, run in runs.items()}
    watched = sorted({(m, part) for m, part in evaluated.values() if m}) or [("top1", False)]
    columns = _legend_columns(runs)
    legend_height = 0.18 * -(-len(runs) // columns)
    figure = Figure(figsize=(9, 3.2 * len(watched) + 4.8 + legend_height), layout="constrained")
    *accuracies, loss, rate = figure.subplots(
        len(watched) + 2, 1, sharex=True, height_ratios=[4] * (len(watched) + 1) + [1.6]
    )
    panels = []  # axes, value, split, and whose
    for axes, (metric, part) in zip(accuracies, watched, strict=True):
        title, unit = _TITLES[metric]
        _frame(axes, title=f"{title}, {'held-out part' if part else 'evaluation'}", unit=unit)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        those = {name for name, found in evaluated.items() if found == (metric, part)}
        panels.append((axes, metric, "eval", those))
    _frame(loss, title="Loss, training", unit="loss (nats)")
    _frame(rate, title="Learning rate", unit="rate")
    panels += [(loss, "loss", "train", runs), (rate, "learning_rate", "train", runs)]
    # Neighbours in the legend differ in colour.
    looks = itertools.product(_STYLES_OF_RUNS, _COLOURS_OF_RUNS)
    handles = []
    for (name, records), (style, colour) in zip(runs.items(), looks, strict=False):
        for axes, value, split, those in panels:
            if name in those:
                _line(axes, records, value, split, label=name, colour=colour, style=style)
        handles.append(Line2D([], [], color=colour, linestyle=style, linewidth=1.6))
    for axes, value, _, _ in panels:
        if not axes.lines:
            _say_not_logged(axes)
        elif value in ("loss", "learning_rate"):
            _logarithmic_if_wide(axes)
    legend = figure.legend(
        handles=handles,
        labels=[str(number) for number in range(len(runs))],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )
    for text, name in zip(legend.get_texts(), runs, strict=True):
        text.set_parse_math(False)  # a $ in a name is a $
        # Only now: a label that begins with _ would be left out.
        text.set_text(_shortened(name))
    return _written(figure, rate, Path(out), software=software)


def read_run(workdir: str | Path) -> list[dict[str, Any]]:
    """What a run logged so far; see `read_metrics`. Empty where it has no line yet.

    Raises:
      FileNotFoundError: the directory has no metrics.
      InputError: its metrics have a line that is not as it should be.
      OSError: the metrics can't be read.
    """
    records = read_metrics(workdir)
    for number, record in enumerate(records, start=1):
        for key, value in record.items():
            if key != "split" and (isinstance(value, bool) or not isinstance(value, int | float)):
                line = f"{Path(workdir) / METRICS_FILE}, line {number}"
                raise InputError(f"{line} has {key} {value!r}, which is no number: remove it.")
    return records


def metric_of(records: Sequence[Mapping[str, Any]]) -> str | None:
    """Which figure a run goes by: 'mAP', 'top1', or None where neither was logged."""
    for metric in ("mAP", "top1"):
        if any(metric in record for record in records):
            return metric
    return None


def _legend_columns(names: Iterable[str]) -> int:
    """How many names stand beside each other, at most three."""
    return max(1, min(3, 110 // (max(len(_shortened(name)) for name in names) + 10)))


def _shortened(name: str) -> str:
    """A name that fits the picture, its middle left out."""
    half = _LONGEST_NAME // 2 - 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}...{name[-half:]}"


def _logarithmic_if_wide(axes: Axes) -> None:
    """Takes a logarithmic axis where values are several divisions by ten apart, none of them 0."""
    values = np.concatenate([line.get_ydata() for line in axes.lines] or [np.ones(1)])
    values = values[np.isfinite(values)]
    if values.size and values.max() > 50 * values.min() > 0:
        axes.set_yscale("log")


def _written(figure: Figure, lowest: Axes, path: Path, *, software: str | None = None) -> Path:
    """Writes a figure, whose panels share the steps below the lowest."""
    lowest.set_xlabel("step")
    whole = MaxNLocator("auto", integer=True, min_n_ticks=1, steps=(1, 2, 5, 10))
    lowest.xaxis.set_major_locator(whole)
    lowest.xaxis.set_major_formatter(EngFormatter(sep=""))
    picture = io.BytesIO()
    metadata = {"Software": software} if software else None
    with warnings.catch_warnings():
        # A name in letters that the font lacks is boxes in the legend; nothing else is lost.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(picture, format="png", dpi=120, metadata=metadata)
    replace_file(path, picture.getvalue())
    return path


def _draw(axes: Axes, records: Sequence[dict], name: str, *, title: str, unit: str) -> None:
    """One panel: a metric of both splits against the step; says so where it was not logged."""
    _frame(axes, title=title, unit=unit)
    for split, colour in _COLOURS.items():
        line = _line(axes, records, name, split, label=split, colour=colour)
        if line is not None:
            line.set_label(f"{line.get_label()}, last {_format(name, line.get_ydata()[-1])}")
    if axes.lines:
        axes.legend(frameon=False, fontsize=9)
    else:
        _say_not_logged(axes)


def _frame(axes: Axes, *, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _line(
    axes: Axes,
    records: Sequence[dict],
    name: str,
    split: str,
    *,
    label: str,
    colour: str,
    style: str = "-",
) -> Line2D | None:
    """Draws a metric of a split; of a noisy one returns the running mean, drawn over it."""
    points = [(r["step"], r[name]) for r in records if r["split"] == split and name in r]
    if not points:
        return None
    steps, values = np.asarray(points, float).T
    # Batches are noisy; evaluations and learning rates are not, and their corners matter.
    if split == "train" and name != "learning_rate" and len(points) >= _SMOOTHED_FROM:
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        steps, values = _running_mean(steps, values)
        label = f"{label}, running mean"
    (line,) = axes.plot(
        steps,
        values,
        color=colour,
        linestyle=style,
        linewidth=1.6,
        marker="o" if len(points) <= _MARKED[split] else None,  # one point is no line
        markersize=4,
        label=label,
    )
    return line


def _say_not_logged(axes: Axes) -> None:
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
