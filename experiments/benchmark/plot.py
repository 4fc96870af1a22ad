"""Draws time and memory against the number of inputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.benchmark.scaling import KINDS, points_of
from experiments.figures.charts import COLOURS, save_png, style_axes

_LOOKS = {"forward": (COLOURS[0], "o"), "gradient": (COLOURS[1], "s")}


def draw_scaling(result: dict[str, Any], out: Path) -> None:
    """Draws the result of `scaling` with logarithmic axes, and writes it as a PNG.

    Raises:
      OSError: the file can't be written.
    """
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for axes, title, unit in (
        (time, "Time of a call", "seconds"),
        (memory, "Peak memory", "GB"),
    ):
        style_axes(axes, title=title, unit=unit)
        axes.set_xlabel("inputs M")
    for kind in KINDS:
        points = points_of(result["points"], kind)
        inputs = [point["inputs"] for point in points]
        _line(time, kind, inputs, [point["seconds"]["median"] for point in points])
        peak, planned = (
            [point[key] / 1e9 for point in points] for key in ("peak_bytes", "planned_bytes")
        )
        _line(memory, kind, inputs, peak)
        _line(memory, kind, inputs, planned, label=f"{kind}, XLA's plan", linestyle="--")
        spreads = [(point["seconds"]["min"], point["seconds"]["max"]) for point in points]
        time.vlines(inputs, *np.transpose(spreads), color=_LOOKS[kind][0], linewidth=1)
    for axes in (time, memory):
        axes.set_xscale("log")
        axes.set_yscale("log")
        _guide(axes)
        axes.legend(frameon=False, fontsize=9)
    save_png(figure, out)


def _line(
    axes: Axes,
    kind: str,
    inputs: Sequence[int],
    values: Sequence[float],
    *,
    label: str | None = None,
    linestyle: str = "-",
) -> None:
    colour, marker = _LOOKS[kind]
    axes.plot(
        inputs,
        values,
        color=colour,
        marker=marker,
        markersize=4,
        linewidth=1.6,
        linestyle=linestyle,
        label=label or kind,
    )


def _guide(axes: Axes) -> None:
    """Draws a dotted line, proportional to M, that ends in the last point of the highest curve."""
    shown = axes.get_ylim()
    inputs, values = max(
        ((np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines),
        key=lambda curve: curve[1][-1],
    )
    proportional = values[-1] * inputs / inputs[-1]
    axes.plot(inputs, proportional, color="grey", linestyle=":", linewidth=1, label="linear in M")
    axes.set_ylim(shown)
