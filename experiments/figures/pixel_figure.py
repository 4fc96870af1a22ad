"""A figure in whole pixels: what is drawn lies where it is put, and text is as wide as said."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_DPI = 100
FONT = 8  # points
# Letters of one width: what fits a line is then a number of letters.
_FAMILY = "DejaVu Sans Mono"
_LETTER = 7  # pixels across, as it is rendered
LINE = 14  # pixels from one line of text to the next
GAP = 12  # pixels around what is drawn


class Canvas:
    """A white figure on which things are placed in pixels from its upper left corner.

    Attributes:
      figure: to be saved, with its own dots per inch.
    """

    def __init__(self, width: int, height: int):
        """Makes it, so many pixels large."""
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._size = (width, height)

    def axes(self, x: int, y: int, width: int, height: int) -> Axes:
        """A drawing of so many pixels, its upper left corner at x, y."""
        across, down = self._size
        axes = self.figure.add_axes(
            (x / across, 1 - (y + height) / down, width / across, height / down)
        )
        axes.tick_params(labelsize=FONT - 1, length=3, pad=2)
        return axes

    def text(
        self, x: int, y: int, lines: Sequence[str], weight: str = "normal", side: str = "left"
    ) -> None:
        """Lines of text, as they are, from y downwards; x is their left or 'right' side."""
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
    """Breaks text into lines that fit `width` pixels; what is left over becomes an ellipsis."""
    return textwrap.wrap(text, int(width / _LETTER), max_lines=lines, placeholder="…")
