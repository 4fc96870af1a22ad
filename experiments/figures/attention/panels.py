"""Inputs and attention maps of each modality, large and side by side (Fig. 3, row 1; App. E)."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures.attention.colours import (
    NOTHING,
    Look,
    factor_to_fit,
    painted_map,
    side_by_side,
)
from experiments.figures.attention.layouts import Part, places, shown_steps
from experiments.figures.contact_sheets import (
    Scales,
    draw_cloud,
    draw_image,
    draw_over_time,
    draw_spectrogram,
    draw_waveform,
    project,
)
from experiments.figures.pixel_figure import GAP, LINE, Canvas, fitted

_BAR = 8  # pixels high
_WIDEST_BAR = 448
_BELOW_BAR = 8 + _BAR + LINE  # with its numbers
_LEFT, _BELOW = 40, 34  # pixels for axes
_FRAME_GAP = 2
_CAPTION_LINES = 2
_HEADER_LINES = 6


@dataclasses.dataclass(frozen=True)
class Map:
    """A map to be drawn.

    Attributes:
      caption: shown above, in two lines at most.
      values: [M] of the modality, NaN where nothing is seen.
      look: its colours.
      limits: of the darkest and the brightest.
    """

    caption: str
    values: np.ndarray
    look: Look
    limits: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Room:
    """How large things are drawn, in pixels.

    Attributes:
      width: of everything, where a panel is not wider.
      panel: of a picture, sound or cloud.
      frame: of a frame of video.
      frames: how many frames of a video are in a row, at most.
    """

    width: int
    panel: int
    frame: int
    frames: int


LARGE = Room(width=1440, panel=448, frame=112, frames=16)
SMALL = Room(width=900, panel=224, frame=104, frames=8)
MOVING = Room(width=1200, panel=224, frame=224, frames=1)


def panels(
    header: str,
    part: Part,
    inputs: np.ndarray,
    maps: Sequence[Map],
    scales: Scales,
    room: Room,
    *,
    name: str | None = None,
) -> Figure:
    """Draws an input and, beside it, maps over it.

    Args:
      header: what is shown.
      part: the modality.
      inputs: its array of one example, without B.
      maps: at least one.
      scales: what the numbers of the input mean.
      room: how large.
      name: of the input; None for that of its modality.
    """
    panel = _PANELS[part.modality](part, inputs, scales, room, np.stack([m.values for m in maps]))
    width, height = panel.size
    left, below = panel.axes
    cell_width = left + width
    columns = max(1, (room.width - GAP) // (cell_width + GAP))
    rows = -(-(len(maps) + 1) // columns)
    columns = -(-(len(maps) + 1) // rows)
    sheet = GAP + columns * (cell_width + GAP)
    captions = [fitted(m.caption, cell_width, _CAPTION_LINES) for m in maps]
    above = LINE * max(map(len, captions)) + 4
    with_bar = part.modality != "audio"  # where an axis has the numbers
    cell_height = above + height + below + GAP + with_bar * _BELOW_BAR
    saved = with_bar * _BELOW_BAR if columns == 1 else 0  # the input has no bar
    title = fitted(header, sheet - 2 * GAP, _HEADER_LINES)
    top = 2 * GAP + LINE * len(title)
    canvas = Canvas(sheet, top + rows * cell_height - saved)
    canvas.text(GAP, GAP, title, weight="bold")
    for number, caption in enumerate([[f"the {name or part.modality}"], *captions]):
        row, column = divmod(number, columns)
        x, y = GAP + column * (cell_width + GAP), top + row * cell_height
        y -= saved if row else 0
        canvas.text(x, y, caption)
        axes = canvas.axes(x + left, y + above, width, height)
        if number == 0:
            panel.draw_input(axes)
            continue
        drawn = maps[number - 1]
        panel.draw_map(axes, drawn)
        if with_bar:
            bar = min(width, _WIDEST_BAR)
            _draw_bar(canvas, x + left, y + above + height + below + 4, bar, drawn)
    return canvas.figure


def _draw_bar(canvas, x, y, width, drawn):
    """What the colours of a map mean."""
    axes = canvas.axes(x, y, width, _BAR)
    axes.imshow(np.linspace(0, 1, 256)[None], drawn.look.colours, aspect="auto")
    axes.set_axis_off()
    low, high = map(drawn.look.text, drawn.limits)
    canvas.text(x, y + _BAR + 4, [low])
    canvas.text(x + width, y + _BAR + 4, [high], side="right")


class _Picture:
    """A picture and its maps, pixel by pixel.

    Attributes:
      size: width and height in pixels.
      axes: the pixels that axes take on the left and below.
    """

    axes = (0, 0)

    def __init__(
        self, part: Part, inputs: np.ndarray, scales: Scales, room: Room, values: np.ndarray
    ):
        """Takes what `panels` is given; values [maps, M]."""
        del scales, values
        self._inputs, self._places = inputs, places(part)
        self._factor = factor_to_fit(max(part.grid), room.panel)
        self.size = tuple(_scaled_size(size, self._factor) for size in part.grid[::-1])

    def draw_input(self, axes: Axes) -> None:
        draw_image(axes, self._inputs)

    def draw_map(self, axes: Axes, drawn: Map) -> None:
        axes.imshow(painted_map(drawn.values, self._places, self._factor, drawn.look, drawn.limits))
        axes.set_axis_off()


class _Video:
    """Frames and their maps in a row each, a column a time step; see `_Picture`."""

    axes = (0, 20)

    def __init__(self, part, inputs, scales, room, values):
        steps = shown_steps(part, values)
        steps = steps[:: -(-len(steps) // room.frames)]
        self._places = places(part, steps=steps)
        self._factor = factor_to_fit(max(part.grid[1:]), room.frame)
        height, width = (_scaled_size(size, self._factor) for size in part.grid[1:])
        # Of each pixel the one of the frame that lies in its middle.
        rows, columns = (
            ((np.arange(size) + 0.5) * whole / size).astype(int)
            for size, whole in zip((height, width), inputs.shape[1:3], strict=True)
        )
        frames = inputs[steps * part.patch[0]][:, rows][:, :, columns]
        self._strip = side_by_side(frames, _FRAME_GAP)
        self._middles = np.arange(len(steps)) * (width + _FRAME_GAP) + width / 2 - 0.5
        self._times = [f"{s * part.patch[0] / scales.frame_rate:.2f} s" for s in steps]
        self.size = self._strip.shape[1], height

    def draw_input(self, axes):
        self._draw(axes, self._strip)

    def draw_map(self, axes, drawn):
        look, limits = drawn.look, drawn.limits
        picture = painted_map(
            drawn.values, self._places, self._factor, look, limits, gap=_FRAME_GAP
        )
        self._draw(axes, picture)

    def _draw(self, axes, picture):
        axes.imshow(picture)
        axes.set_xticks(self._middles, self._times)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)


class _Spectrogram:
    """A spectrogram and its maps, each cell a rectangle; see `_Picture`."""

    axes = (_LEFT, _BELOW)

    def __init__(self, part, inputs, scales, room, values):
        del values
        self._inputs, self._scales, self._grid = inputs, scales, part.grid
        frames, bins = part.grid
        across = frames * max(1, (room.panel - _LEFT) // frames)
        self.size = across, bins * max(1, across * 3 // 5 // bins)

    def draw_input(self, axes):
        low, high = float(self._inputs.min()), float(self._inputs.max())
        draw_spectrogram(axes, self._inputs, self._scales, (low, high))

    def draw_map(self, axes, drawn):
        values, colours = drawn.values.reshape(self._grid), drawn.look.colours
        axes.set_facecolor(NOTHING)
        draw_spectrogram(axes, values, self._scales, drawn.limits, colours)


class _Audio:
    """A waveform and its maps as curves over the same time; see `_Picture`."""

    axes = (_LEFT, _BELOW)

    def __init__(self, part, inputs, scales, room, values):
        del part, values
        self._inputs, self._seconds = inputs, len(inputs) / scales.sample_rate
        self._scales = scales
        self.size = room.panel - _LEFT, room.panel // 3

    def draw_input(self, axes):
        draw_waveform(axes, self._inputs, self._scales)

    def draw_map(self, axes, drawn):
        low, high = drawn.limits
        edge = 0.05 * (high - low)
        lowest = low if drawn.look.from_zero else low - edge
        draw_over_time(axes, drawn.values, self._seconds, (lowest, high + edge))
        axes.set_yticks([low, high], [drawn.look.text(x) for x in (low, high)])


class _Cloud:
    """A point cloud, near points bright, and its maps on the points; see `_Picture`."""

    axes = (0, 0)

    def __init__(self, part, inputs, scales, room, values):
        del part, values
        self._points, self._up = inputs, scales.up_axis
        self._dot = 3 if room.panel < LARGE.panel else 12
        self.size = room.panel, room.panel

    def draw_input(self, axes):
        near = project(self._points, self._up)[2]
        draw_cloud(axes, self._points, self._up, near, (-1.5, 1.5), self._dot, "Greys")

    def draw_map(self, axes, drawn):
        values, colours = drawn.values, drawn.look.colours
        draw_cloud(axes, self._points, self._up, values, drawn.limits, self._dot, colours)


def _scaled_size(size, factor):
    return size * factor if factor > 0 else -(-size // -factor)


_PANELS = {
    "image": _Picture,
    "points": _Cloud,
    "audio": _Audio,
    "spectrogram": _Spectrogram,
    "video": _Video,
}
