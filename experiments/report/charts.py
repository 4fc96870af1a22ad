"""Curves as SVG for a web page: sharp at any width, with a word on each point."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import EngFormatter, MaxNLocator

from experiments.report.html import Html, tag

_WIDTH, _HEIGHT = 440, 250  # in units of a pixel, more or less
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 26
_FONT = 13
_SMOOTHED_FROM = 150  # points; below, the eye does it
_DRAWN = 100  # points of a line that was smoothed
_MARKED = 25  # points at most

# Okabe and Ito's, but for yellow, which is faint on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("", "7 3", "2 3", "8 3 2 3")  # once all colours are taken


class Line(NamedTuple):
    """A line of a chart.

    Attributes:
      name: of it.
      points: (step, value).
      look: its number, for colour and dashes.
      noisy: whether many points may be drawn as means over parts.
    """

    name: str
    points: Sequence[tuple[int, float]]
    look: int
    noisy: bool = False


def legend(names: Sequence[tuple[str, int]]) -> Html:
    """Names beside samples of their lines; each with its `look`."""
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag(
                    "svg",
                    tag("path", d="M0 5H30", fill="none", stroke_width=3, **_stroke(look)),
                    viewBox="0 0 30 10",
                    aria_hidden="true",
                ),
                tag("span", name),
            )
            for name, look in names
        ),
        class_="legend",
    )


def chart(title: str, lines: Sequence[Line], *, percent: bool = False) -> Html:
    """A figure of lines over the steps; what is not finite is left out.

    The axis is logarithmic where all is above 0 and much of it less than a fiftieth of the largest.
    """
    drawn = [(line, _thinned(line)) for line in lines]
    values = np.array([v for _, points in drawn for _, v in points if math.isfinite(v)])
    if not values.size:
        return tag("figure", tag("figcaption", title), tag("p", "not logged", class_="note"))
    last = max(step for _, points in drawn for step, _ in points)
    # Not for the end of a cosine, which would take all the room.
    logarithmic = not percent and values.max() > 50 * np.quantile(values, 0.2) and values.min() > 0
    ticks = _log_ticks(values) if logarithmic else _ticks(values, percent)
    of = math.log10 if logarithmic else float
    low, high = (of(x) for x in (min(ticks[0], values.min()), max(ticks[-1], values.max())))

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / max(last, 1)

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - of(value)) / ((high - low) or 1)

    def told(value: float) -> str:
        return f"{value:.2%}" if percent else f"{value:.4g}"

    parts = [_frame(y, ticks, percent), *_steps(x, last)]
    for line, points in drawn:
        # What is no number, a gap.
        path = " ".join(
            f"{'L' if i and math.isfinite(points[i - 1][1]) else 'M'}{x(s):.1f} {y(v):.1f}"
            for i, (s, v) in enumerate(points)
            if math.isfinite(v)
        )
        look = _stroke(line.look)
        parts.append(tag("path", d=path, fill="none", stroke_width=1.8, **look))
        if len(points) <= _MARKED:
            parts += [
                tag(
                    "circle",
                    tag("title", f"{line.name}, step {step:,}: {told(value)}"),
                    cx=f"{x(step):.1f}",
                    cy=f"{y(value):.1f}",
                    r=3,
                    fill=look["stroke"],
                )
                for step, value in points
                if math.isfinite(value)
            ]
    ends = [(line.name, [v for _, v in line.points if math.isfinite(v)]) for line in lines]
    said = "; ".join(f"{name} ends at {told(vs[-1])}" for name, vs in ends if vs)
    svg = tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{title} against the step: {said}",
        font_size=_FONT,
    )
    return tag("figure", tag("figcaption", title), svg)


def _stroke(look: int) -> dict[str, str | None]:
    dashes = DASHES[look // len(COLOURS) % len(DASHES)]
    return {"stroke": COLOURS[look % len(COLOURS)], "stroke_dasharray": dashes or None}


def _thinned(line: Line) -> list[tuple[float, float]]:
    """Means over parts of a noisy line of many points."""
    if not line.noisy or len(line.points) < _SMOOTHED_FROM:
        return list(line.points)
    parts = np.array_split(np.asarray(line.points, float), _DRAWN)
    return [tuple(part.mean(axis=0)) for part in parts]


def _ticks(values: np.ndarray, percent: bool) -> np.ndarray:
    low, high = values.min(), values.max()
    if low == high:
        low, high = low - (abs(low) or 1) / 10, high + (abs(high) or 1) / 10
    ticks = MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high)
    # A share is no less than none and no more than all.
    return ticks[(ticks > -1e-9) & (ticks < 1 + 1e-9)] if percent else ticks


def _log_ticks(values: np.ndarray) -> np.ndarray:
    low, high = np.log10(values.min()), np.log10(values.max())
    every = -(-(math.ceil(high) - math.floor(low)) // 5)
    return 10.0 ** np.arange(math.floor(low), math.ceil(high) + every, every)


def _frame(y, ticks: np.ndarray, percent: bool) -> Html:
    """Lines across, each with its value."""
    digits = max(0, -math.floor(math.log10(np.diff(ticks).min() * 100) + 1e-9)) if percent else 0
    parts = []
    for tick in ticks:
        text = f"{tick:.{digits}%}" if percent else f"{tick:.4g}"
        height = f"{y(tick):.1f}"
        parts.append(tag("path", d=f"M{_LEFT} {height}H{_WIDTH - _RIGHT}", stroke="#dde1e6"))
        parts.append(
            tag(
                "text",
                text,
                x=_LEFT - 6,
                y=height,
                text_anchor="end",
                dominant_baseline="central",
                fill="#57606a",
            )
        )
    return tag("g", *parts)


def _steps(x, last: int) -> list[Html]:
    """Steps below the frame; the last tick stays inside it."""
    formatter = EngFormatter(sep="")
    locator = MaxNLocator(5, integer=True, steps=(1, 2, 5, 10))
    marks = [tick for tick in locator.tick_values(0, max(last, 1)) if 0 <= tick <= max(last, 1)]
    return [
        tag(
            "text",
            f"{formatter(tick)}" if tick else "step 0",
            x=f"{x(tick):.1f}",
            y=_HEIGHT - 7,
            text_anchor="end" if x(tick) > _WIDTH - _RIGHT - 14 else "middle",
            fill="#57606a",
        )
        for tick in marks
    ]
