"""Draws the metric of a sweep's points against each swept key (Figs. 5 and 6)."""

import collections
import io
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator, PercentFormatter

from launch.sweep.points import short_keys
from launch.sweep.results import Row, replace_file

# Okabe and Ito's palette for colour-blind readers, without yellow, which is faint on white.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_ALONE = "#7f8a93"  # points without a line
_COLUMNS = 3
_LOG_FROM = 10  # ratio of the largest to the smallest value
_MOST_TICKS = 8  # up to which every value gets a label


def draw_sweep(path: Path, rows: Sequence[Row], keys: Sequence[str], *, join: bool) -> bool:
    """Draws a panel for each key.

    Args:
      path: the PNG to write.
      rows: the points; points without a finite metric are counted but not drawn.
      keys: the swept keys; a key with the same value in all points gets no panel.
      join: True to draw lines between points that differ only in the panel's key; not useful for
        random values, which rarely agree in the other keys.

    Returns:
      False if there was nothing to draw.

    Raises:
      SweepError: the picture can't be written.
    """
    drawn = [row for row in rows if row.result and math.isfinite(row.result.figure)]
    keys = [key for key in keys if len({_number(row.values[key]) for row in drawn}) > 1]
    if not keys:
        return False
    columns = min(len(keys), _COLUMNS)
    lines = math.ceil(len(keys) / columns)
    figure = Figure(figsize=(max(4.6 * columns, 6), 4.2 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
    names = short_keys(keys)
    for key, axes in zip(keys, panels, strict=False):
        _draw(axes, drawn, key, names, join=join)
        _name(axes.set_xlabel, names[key])
    for axes in list(panels)[len(keys) :]:
        axes.remove()
    results = [row.result for row in drawn]
    for axes in figure.axes[::columns]:
        axes.set_ylabel(", ".join(sorted({found.metric_name for found in results})))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    missing = len(rows) - len(drawn)
    about = f"{len(drawn)} points" + (f"; {missing} more have no figure" if missing else "")
    figure.suptitle(about, x=0.01, ha="left", fontsize=10)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    replace_file(path, picture.getvalue())
    return True


def _draw(axes: Axes, rows: Sequence[Row], key: str, names: dict[str, str], *, join: bool) -> None:
    """Draws one panel."""
    values = list(dict.fromkeys(_number(row.values[key]) for row in rows))
    numeric = not any(isinstance(value, str) for value in values)
    places = {v: v if numeric else number for number, v in enumerate(values)}
    groups = collections.defaultdict(list)
    others = [other for other in names if other != key]
    for row in rows:
        place = places[_number(row.values[key])]
        group = tuple(_number(row.values[other]) for other in others)
        groups[group].append((place, row.result.figure))
    joined = {x: points for x, points in groups.items() if join and len({p for p, _ in points}) > 1}
    differing = [n for n in range(len(others)) if len({group[n] for group in joined}) > 1]
    for number, (group, points) in enumerate(joined.items()):
        label = ", ".join(f"{names[others[n]]}={_text(group[n])}" for n in differing)
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(*zip(*sorted(points), strict=True), "o-", color=colour, ms=4, label=label)
    alone = [point for x, points in groups.items() if x not in joined for point in points]
    if alone:
        colour = _ALONE if joined else _COLOURS[0]
        axes.plot(*zip(*alone, strict=True), "o", color=colour, ms=4, alpha=0.8, zorder=1)
    if differing and len(joined) <= len(_COLOURS):
        for text in axes.legend(frameon=False, fontsize=8).get_texts():
            text.set_parse_math(False)  # a $ in a value is not mathematics
    _ticks(axes, values, numeric=numeric)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _ticks(axes: Axes, values: Sequence[float | str], *, numeric: bool) -> None:
    if not numeric:
        axes.set_xticks(range(len(values)), values, rotation=30 if len(values) > 4 else 0)
        for text in axes.get_xticklabels():
            text.set_parse_math(False)
        return
    span = max(values) / min(values) if min(values) > 0 else 0
    if span > _LOG_FROM:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 100 else (1,)))
    if len(values) <= _MOST_TICKS:
        axes.xaxis.set_major_locator(FixedLocator(sorted(values)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: _text(value))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _name(setter, text: str) -> None:
    setter(text).set_parse_math(False)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _number(text: str) -> float | str:
    """Returns a flag's value as a number, or as text if it is not a finite number."""
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else text
