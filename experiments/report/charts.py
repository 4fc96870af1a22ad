"""Curves as charts of a web page."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from experiments.figures.charts import LOOKS, set_step_axis, set_value_axis, style_axes, svg
from experiments.figures.curves import Points, add_curve
from experiments.report.elements import tag
from perceiver.training.logging.metric_kinds import MetricKind

_SIZE = 440 / 72, 250 / 72  # inches; the unit of an SVG file is a point, a 72nd of an inch
_FONT_SIZE = 13
_MOST_POINTS = 100  # of the running mean of a noisy line


class Curve(NamedTuple):
    """A line of a chart.

    Attributes:
      name: name of the line.
      points: (step, value).
      look: index into LOOKS, for colour and line style.
      split: 'train' or 'eval'.
    """

    name: str
    points: Points
    look: int
    split: str


def chart(title: str, curves: Sequence[Curve], kind: MetricKind) -> Markup:
    """Returns a figure with a metric over the steps; values that are not finite are gaps."""
    caption = tag("figcaption", title)
    finite = {c.name: [(s, v) for s, v in c.points if math.isfinite(v)] for c in curves}
    if not any(finite.values()):
        return tag("figure", caption, tag("p", "not logged", class_="note"))
    with rc_context({"font.size": _FONT_SIZE}):
        figure, hover_texts = draw(curves, kind)
        ends = [f"{n} ends at {kind.exact_text(xs[-1][1])}" for n, xs in finite.items() if xs]
        description = f"{title} against the step: {'; '.join(ends)}"
        element = svg(figure, description=description, hover_texts=hover_texts)
    return tag("figure", caption, Markup(element))


def draw(curves: Sequence[Curve], kind: MetricKind) -> tuple[Figure, dict[str, list[str]]]:
    """Draws a chart.

    Returns:
      The figure, and the hover texts of its markers by the gid of the line, as `svg` takes them.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    style_axes(axes)
    hover_texts = {}
    for number, curve in enumerate(curves):
        line = add_curve(
            axes,
            curve.points,
            kind,
            curve.split,
            label=curve.name,
            look=curve.look,
            most_points=_MOST_POINTS,
        )
        if line is not None and line.get_marker() == "o":
            gid = f"curve-{number}"
            line.set_gid(gid)
            hover_texts[gid] = [
                f"{curve.name}, step {step:,}: {kind.exact_text(value)}"
                for step, value in curve.points
                if math.isfinite(value)
            ]
    set_value_axis(axes, kind)
    set_step_axis(axes)
    return figure, hover_texts


def legend(names: Sequence[str]) -> Markup:
    """Returns names with samples of their lines, whose looks are in the order of LOOKS."""
    entries = (
        tag("li", _sample(look), tag("span", name))
        for look, name in zip(LOOKS[: len(names)], names, strict=True)
    )
    return tag("ul", *entries, class_="legend")


def _sample(look: tuple[LineStyleType, str]) -> Markup:
    """Returns a piece of a line as an SVG element."""
    style, colour = look
    figure = Figure(figsize=(30 / 72, 10 / 72))
    figure.add_artist(Line2D([0, 1], [0.5, 0.5], color=colour, linestyle=style, linewidth=2.5))
    return Markup(svg(figure))
