"""A matplotlib figure that is addressed in whole pixels."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_DPI = 100
FONT = 8  # points
# A monospaced font, so that the length of a text in pixels is known before it is drawn.
_FAMILY = "DejaVu Sans Mono"
_LETTER = 7  # pixels across, as rendered
LINE = 14  # pixels from one line of text to the next
GAP = 12  # pixels around each drawing


class PixelFigure:
    """A white figure on which axes and text are placed in pixels from the upper left corner.

    matplotlib's layout engines choose the sizes of axes, so that pictures would be resampled. In a
    contact sheet or attention map a pixel of the picture must be a whole number of pixels of the
    file, otherwise single inputs are blurred. matplotlib has no shorter way to place axes exactly.

    Attributes:
      figure: the matplotlib figure; save it with `dpi="figure"`.
    """

    def __init__(self, width: int, height: int):
        """Creates a figure of the given size in pixels."""
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._size = (width, height)

    def axes(self, x: int, y: int, width: int, height: int) -> Axes:
        """Returns axes of the given size with the upper left corner at x, y."""
        across, down = self._size
        axes = self.figure.add_axes(
            (x / across, 1 - (y + height) / down, width / across, height / down)
        )
        axes.tick_params(labelsize=FONT - 1, length=3, pad=2)
        return axes

    def text(
        self, x: int, y: int, lines: Sequence[str], weight: str = "normal", side: str = "left"
    ) -> None:
        """Writes lines of plain text from y downwards; x is their 'left' or 'right' side."""
        across, down = self._size
        for number, line in enumerate(lines):
            self.figure.text(
                x / across,
                1 - (y + number * LINE) / down,
                line,
                size=FONT,
                family=_FAMILY,
                weight=weight,
                va="top",
                ha=side,
                parse_math=False,  # a class may be called $a$
            )


def fitted(text: str, width: int, lines: int) -> list[str]:
    """Breaks text into lines that fit `width` pixels; an ellipsis replaces further lines."""
    return textwrap.wrap(text, int(width / _LETTER), max_lines=lines, placeholder="…")
