"""Attention maps of each modality side by side with their input (Fig. 3, row 1; App. E)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures.attention.colours import (
    BACKGROUND,
    Palette,
    factor_to_fit,
    map_to_rgb,
    side_by_side,
)
from experiments.figures.attention.layouts import InputGrid, drawn_steps, inputs_at_pixels
from experiments.figures.contact_sheets import (
    Scales,
    draw_cloud,
    draw_image,
    draw_over_time,
    draw_spectrogram,
    draw_waveform,
    project,
)
from experiments.figures.pixel_figure import GAP, LINE, PixelFigure, fitted

_BAR = 8  # pixels high
_WIDEST_BAR = 448
_BELOW_BAR = 8 + _BAR + LINE  # including its numbers
_LEFT, _BELOW = 40, 34  # pixels for axes
_FRAME_GAP = 2
_CAPTION_LINES = 2
_HEADER_LINES = 6


@dataclasses.dataclass(frozen=True)
class Map:
    """An attention map to draw.

    Attributes:
      caption: text above the map, at most two lines.
      values: [M] for the modality, NaN outside the visible range.
      palette: colours of the map.
      limits: values of the darkest and the brightest colour.
    """

    caption: str
    values: np.ndarray
    palette: Palette
    limits: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes in pixels.

    Attributes:
      width: width of the figure, unless a panel is wider.
      panel: width of a picture, sound or cloud.
      frame: width of a video frame.
      frames: largest number of video frames in a row.
    """

    width: int
    panel: int
    frame: int
    frames: int


LARGE = Sizes(width=1440, panel=448, frame=112, frames=16)
SMALL = Sizes(width=900, panel=224, frame=104, frames=8)
MOVING = Sizes(width=1200, panel=224, frame=224, frames=1)


def draw_panels(
    header: str,
    part: InputGrid,
    inputs: np.ndarray,
    maps: Sequence[Map],
    scales: Scales,
    sizes: Sizes,
    *,
    name: str | None = None,
) -> Figure:
    """Draws an input, followed by its attention maps.

    Args:
      header: title of the figure.
      part: grid of the modality.
      inputs: array of one example, without the axis B.
      maps: at least one map.
      scales: units of the input.
      sizes: sizes of the figure and its panels.
      name: name of the input; None takes the name of the modality.
    """
    panel = _PANELS[part.modality](part, inputs, scales, sizes, np.stack([m.values for m in maps]))
    width, height = panel.size
    left, below = panel.axes
    cell_width = left + width
    columns = max(1, (sizes.width - GAP) // (cell_width + GAP))
    rows = -(-(len(maps) + 1) // columns)
    columns = -(-(len(maps) + 1) // rows)
    sheet = GAP + columns * (cell_width + GAP)
    captions = [fitted(m.caption, cell_width, _CAPTION_LINES) for m in maps]
    above = LINE * max(map(len, captions)) + 4
    with_bar = part.modality != "audio"  # its axis shows the numbers
    cell_height = above + height + below + GAP + with_bar * _BELOW_BAR
    unused = with_bar * _BELOW_BAR if columns == 1 else 0  # the input has no colour bar
    title = fitted(header, sheet - 2 * GAP, _HEADER_LINES)
    top = 2 * GAP + LINE * len(title)
    pixel_figure = PixelFigure(sheet, top + rows * cell_height - unused)
    pixel_figure.text(GAP, GAP, title, weight="bold")
    for number, caption in enumerate([[f"the {name or part.modality}"], *captions]):
        row, column = divmod(number, columns)
        x, y = GAP + column * (cell_width + GAP), top + row * cell_height
        y -= unused if row else 0
        pixel_figure.text(x, y, caption)
        axes = pixel_figure.axes(x + left, y + above, width, height)
        if number == 0:
            panel.draw_input(axes)
            continue
        drawn = maps[number - 1]
        panel.draw_map(axes, drawn)
        if with_bar:
            bar = min(width, _WIDEST_BAR)
            _draw_bar(pixel_figure, x + left, y + above + height + below + 4, bar, drawn)
    return pixel_figure.figure


def _draw_bar(pixel_figure: PixelFigure, x: int, y: int, width: int, drawn: Map) -> None:
    """Draws the colour bar of a map."""
    axes = pixel_figure.axes(x, y, width, _BAR)
    axes.imshow(np.linspace(0, 1, 256)[None], drawn.palette.colours, aspect="auto")
    axes.set_axis_off()
    low, high = map(drawn.palette.text, drawn.limits)
    pixel_figure.text(x, y + _BAR + 4, [low])
    pixel_figure.text(x + width, y + _BAR + 4, [high], side="right")


class _Panel(Protocol):
    """The drawing of an input and of its maps.

    Constructors take grid, inputs, scales and sizes as `draw_panels` does, and the values of all
    maps, [maps, M].

    Attributes:
      size: width and height in pixels.
      axes: margins on the left and below for axes, in pixels.
    """

    size: tuple[int, int]
    axes: tuple[int, int]

    def draw_input(self, axes: Axes) -> None:
        """Draws the input."""

    def draw_map(self, axes: Axes, drawn: Map) -> None:
        """Draws a map."""


class _Picture:
    """Draws a picture and its maps pixel by pixel."""

    axes = (0, 0)

    def __init__(
        self, part: InputGrid, inputs: np.ndarray, _: Scales, sizes: Sizes, values: np.ndarray
    ):
        del values
        self._inputs, self._input_numbers = inputs, inputs_at_pixels(part)
        self._factor = factor_to_fit(max(part.grid), sizes.panel)
        height, width = (_scaled_size(size, self._factor) for size in part.grid)
        self.size = width, height

    def draw_input(self, axes: Axes) -> None:
        draw_image(axes, self._inputs)

    def draw_map(self, axes: Axes, drawn: Map) -> None:
        palette, limits = drawn.palette, drawn.limits
        axes.imshow(map_to_rgb(drawn.values, self._input_numbers, self._factor, palette, limits))
        axes.set_axis_off()


class _Video:
    """Draws frames and their maps, a column for each time step."""

    axes = (0, 20)

    def __init__(
        self, part: InputGrid, inputs: np.ndarray, scales: Scales, sizes: Sizes, values: np.ndarray
    ):
        steps = drawn_steps(part, values)
        steps = steps[:: -(-len(steps) // sizes.frames)]
        self._input_numbers = inputs_at_pixels(part, steps=steps)
        self._factor = factor_to_fit(max(part.grid[1:]), sizes.frame)
        height, width = (_scaled_size(size, self._factor) for size in part.grid[1:])
        # Each pixel shows the pixel of the frame at its middle.
        rows, columns = (
            ((np.arange(size) + 0.5) * whole / size).astype(int)
            for size, whole in zip((height, width), inputs.shape[1:3], strict=True)
        )
        frames = inputs[steps * part.patch[0]][:, rows][:, :, columns]
        self._strip = side_by_side(frames, _FRAME_GAP)
        self._middles = np.arange(len(steps)) * (width + _FRAME_GAP) + width / 2 - 0.5
        self._times = [f"{s * part.patch[0] / scales.frame_rate:.2f} s" for s in steps]
        self.size = self._strip.shape[1], height

    def draw_input(self, axes: Axes) -> None:
        self._draw(axes, self._strip)

    def draw_map(self, axes: Axes, drawn: Map) -> None:
        palette, limits = drawn.palette, drawn.limits
        picture = map_to_rgb(
            drawn.values, self._input_numbers, self._factor, palette, limits, gap=_FRAME_GAP
        )
        self._draw(axes, picture)

    def _draw(self, axes: Axes, picture: np.ndarray) -> None:
        axes.imshow(picture)
        axes.set_xticks(self._middles, self._times)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)


class _Spectrogram:
    """Draws a spectrogram and its maps, each cell as a rectangle."""

    axes = (_LEFT, _BELOW)

    def __init__(
        self, part: InputGrid, inputs: np.ndarray, scales: Scales, sizes: Sizes, values: np.ndarray
    ):
        del values
        self._inputs, self._scales, self._grid = inputs, scales, part.grid
        frames, bins = part.grid
        across = frames * max(1, (sizes.panel - _LEFT) // frames)
        self.size = across, bins * max(1, across * 3 // 5 // bins)

    def draw_input(self, axes: Axes) -> None:
        low, high = float(self._inputs.min()), float(self._inputs.max())
        draw_spectrogram(axes, self._inputs, self._scales, (low, high))

    def draw_map(self, axes: Axes, drawn: Map) -> None:
        values, colours = drawn.values.reshape(self._grid), drawn.palette.colours
        axes.set_facecolor(BACKGROUND)
        draw_spectrogram(axes, values, self._scales, drawn.limits, colours)


class _Audio:
    """Draws a waveform and its maps as curves over time."""

    axes = (_LEFT, _BELOW)

    def __init__(
        self, part: InputGrid, inputs: np.ndarray, scales: Scales, sizes: Sizes, values: np.ndarray
    ):
        del part, values
        self._inputs, self._seconds = inputs, len(inputs) / scales.sample_rate
        self._scales = scales
        self.size = sizes.panel - _LEFT, sizes.panel // 3

    def draw_input(self, axes: Axes) -> None:
        draw_waveform(axes, self._inputs, self._scales)

    def draw_map(self, axes: Axes, drawn: Map) -> None:
        low, high = drawn.limits
        edge = 0.05 * (high - low)
        lowest = low if drawn.palette.from_zero else low - edge
        draw_over_time(axes, drawn.values, self._seconds, (lowest, high + edge))
        axes.set_yticks([low, high], [drawn.palette.text(x) for x in (low, high)])


class _Cloud:
    """Draws a point cloud with bright near points, and its maps on the points."""

    axes = (0, 0)

    def __init__(
        self, part: InputGrid, inputs: np.ndarray, scales: Scales, sizes: Sizes, values: np.ndarray
    ):
        del part, values
        self._points, self._up = inputs, scales.up_axis
        self._dot = 3 if sizes.panel < LARGE.panel else 12
        self.size = sizes.panel, sizes.panel

    def draw_input(self, axes: Axes) -> None:
        near = project(self._points, self._up)[2]
        draw_cloud(axes, self._points, self._up, near, (-1.5, 1.5), self._dot, "Greys")

    def draw_map(self, axes: Axes, drawn: Map) -> None:
        values, colours = drawn.values, drawn.palette.colours
        draw_cloud(axes, self._points, self._up, values, drawn.limits, self._dot, colours)


def _scaled_size(size: int, factor: int) -> int:
    return size * factor if factor > 0 else -(-size // -factor)


_PANELS: dict[str, Callable[[InputGrid, np.ndarray, Scales, Sizes, np.ndarray], _Panel]] = {
    "image": _Picture,
    "points": _Cloud,
    "audio": _Audio,
    "spectrogram": _Spectrogram,
    "video": _Video,
}
