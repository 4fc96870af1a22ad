"""The style of all charts, and charts as PNG and SVG files."""

import io
import itertools
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
from matplotlib.typing import LineStyleType

from perceiver.training.files import replace_file
from perceiver.training.logging.metric_kinds import MetricKind

# Okabe and Ito's palette for colour-blind readers, without yellow, which is faint on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
# The look of each line of a chart: (line style, colour). Neighbours differ in colour.
_LINE_STYLES: tuple[LineStyleType, ...] = ("-", "--", ":", "-.")
LOOKS = tuple(itertools.product(_LINE_STYLES, COLOURS))

_DPI = 120
_SVG = "{http://www.w3.org/2000/svg}"
ET.register_namespace("", _SVG.strip("{}"))
ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")


def style_axes(axes: Axes, *, title: str | None = None, unit: str | None = None) -> None:
    """Applies the style of all charts: title above left, unit of the y axis, grid, no box."""
    if title:
        axes.set_title(title, loc="left", fontsize=11)
    if unit:
        axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def set_step_axis(axes: Axes) -> None:
    """Labels the x axis as training steps, with ticks at whole steps."""
    axes.set_xlabel("step")
    locator = MaxNLocator("auto", integer=True, min_n_ticks=1, steps=(1, 2, 5, 10))
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def set_value_axis(axes: Axes, kind: MetricKind) -> None:
    """Scales the y axis for a metric, after its lines are drawn.

    Shares are shown in percent, between 0 and 100%. Other values get a logarithmic axis if all are
    positive and a fifth of them are less than a fiftieth of the largest. A cosine schedule, of
    which only the end is small, keeps a linear axis.
    """
    if kind.is_share:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, 1))
        return
    values = np.concatenate([line.get_ydata() for line in axes.lines] or [np.empty(0)])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > 50 * np.quantile(values, 0.2):
        axes.set_yscale("log")


def save_png(figure: Figure, path: Path, *, software: str | None = None) -> None:
    """Writes a chart as a PNG file, whole or not at all.

    Args:
      figure: the chart.
      path: file to write.
      software: program to name in the file, under 'Software'; None names matplotlib.

    Raises:
      OSError: the file cannot be written.
    """
    picture = io.BytesIO()
    metadata = {"Software": software} if software else None
    with warnings.catch_warnings():
        # Letters that the font lacks become boxes in the legend; nothing else is lost.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(picture, format="png", dpi=_DPI, metadata=metadata)
    replace_file(path, picture.getvalue())


def svg(
    figure: Figure,
    *,
    description: str | None = None,
    hover_texts: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Returns a chart as an <svg> element for a web page, with text as text and no fixed size.

    Args:
      figure: the chart.
      description: text for readers who do not see the chart; None hides a decoration from them.
      hover_texts: for each gid of a line, a text for each of its markers, which browsers show
        while the mouse is over the marker.
    """
    file = io.StringIO()
    # The salt makes the generated ids, and with them the page, reproducible.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "perceiver"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    root = ET.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style") or child.tag.endswith("}RDF"):
                parent.remove(child)
    for gid, texts in (hover_texts or {}).items():
        markers = root.iterfind(f".//*[@id='{gid}']//{_SVG}use")
        for marker, text in zip(markers, texts, strict=True):
            ET.SubElement(marker, f"{_SVG}title").text = text
    for group in root.iter(f"{_SVG}g"):
        group.attrib.pop("id", None)  # several charts of a page would have the same ids
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    if description is None:
        root.set("aria-hidden", "true")
    else:
        root.set("role", "img")
        root.set("aria-label", description)
    return re.sub(r"\s*\n\s*", "\n", ET.tostring(root, encoding="unicode"))
