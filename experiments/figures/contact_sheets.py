"""Contact sheets: many inputs of a network in one picture, each below its caption.

Inputs are pictures, point clouds, frames of videos, spectrograms and waveforms. They are placed in
whole pixels, so that a picture of 224 x 224 is shown without resampling.
"""

import dataclasses
import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.figures.charts import COLOURS
from experiments.figures.pixel_figure import FONT, GAP, LINE, PixelFigure, fitted

_WIDTH = 1440  # pixels of a sheet, unless an entry is wider
_HEADER_LINES = 2
_CAPTION_LINES = 2

_PICTURE = 224  # pixels of the longest side of a picture
_FRAME = 112
_EVERY_FRAMES = 4
_SOUND = (230, 112)
_CLOUD = 220

# The direction from which a point cloud is viewed.
_AZIMUTH, _ELEVATION = math.radians(-55), math.radians(22)
_AXES_WITH_LAST_UP = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}  # rotated, not mirrored
_REACH = 1.78  # half the width of the drawing of the cube from -1 to 1 with axis names


@dataclasses.dataclass(frozen=True)
class Scales:
    """The units of inputs.

    Attributes:
      sample_rate: audio samples a second.
      frame_rate: video frames a second.
      mel_hop: samples from one column of a spectrogram to the next. None if unknown: the axis then
        shows numbers of columns instead of seconds.
      up_axis: axis of a point cloud that is drawn upwards: 'x', 'y' or 'z'.
    """

    sample_rate: int
    frame_rate: int
    mel_hop: int | None = None
    up_axis: str = "z"


def scales_of(data: Mapping[str, Any]) -> Scales:
    """Returns the units of inputs for a config's section `data`."""
    from perceiver.data.clips.schema import FRAME_RATE, SAMPLE_RATE  # imports TensorFlow

    return Scales(
        sample_rate=SAMPLE_RATE,
        frame_rate=FRAME_RATE,
        mel_hop=data.get("mel_hop"),
        up_axis=data.get("up_axis", "z"),
    )


@dataclasses.dataclass(frozen=True)
class Entry:
    """One place on a sheet.

    Attributes:
      caption: text above the inputs, at most two lines.
      inputs: arrays of one example or one of its windows, with the names and shapes of
        `perceiver.data.dataset.Source`; other names are ignored.
    """

    caption: str
    inputs: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Panel:
    """The drawing of an input: a function, its size, and margins for its axes in pixels."""

    size: Callable[[np.ndarray], tuple[int, int]]  # width, height
    draw: Callable[[Axes, np.ndarray, Scales, tuple[float, float]], None]
    left: int = 0
    above: int = 0
    right: int = 0
    below: int = 0


def png(figure: Figure) -> bytes:
    """Returns a figure as the content of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi="figure")
    return file.getvalue()


def contact_sheet(header: str, entries: Sequence[Entry], scales: Scales) -> Figure:
    """Draws entries in rows, in reading order; each clip with video takes a row.

    Args:
      header: title of the sheet, at most two lines.
      entries: at least one entry, all with inputs of the same names and shapes.
      scales: units of the inputs.

    Raises:
      ValueError: there is no entry, or none of its inputs can be drawn.
    """
    names = [name for name in _PANELS if entries and name in entries[0].inputs]
    if not names:
        raise ValueError(f"nothing to draw: an entry has at least one of {', '.join(_PANELS)}.")
    panels = [_PANELS[name] for name in names]
    sizes = [_PANELS[name].size(entries[0].inputs[name]) for name in names]
    width = sum(p.left + w + p.right for p, (w, _) in zip(panels, sizes, strict=True))
    width += GAP * (len(names) - 1)
    above = max(panel.above for panel in panels)
    tallest = max(above + h + p.below for p, (_, h) in zip(panels, sizes, strict=True))
    captions = [fitted(entry.caption, width, _CAPTION_LINES) for entry in entries]
    caption_height = LINE * max(map(len, captions))

    columns = 1 if "video" in names else max(1, (_WIDTH - GAP) // (width + GAP))
    columns = min(columns, len(entries))
    rows = -(-len(entries) // columns)
    sheet = max(GAP + columns * (width + GAP), _WIDTH // 3)
    limits = {name: _limits(entries, name) for name in names}
    if "spectrogram" in names:
        low, high = limits["spectrogram"]
        header += f"; log-mel from {low:.1f} (dark) to {high:.1f} (bright)"
    title = fitted(header, sheet - 2 * GAP, _HEADER_LINES)
    top = GAP + LINE * len(title) + GAP
    row_height = caption_height + tallest + GAP
    pixel_figure = PixelFigure(sheet, top + rows * row_height)
    pixel_figure.text(GAP, GAP, title, weight="bold")
    for number, (entry, caption) in enumerate(zip(entries, captions, strict=True)):
        row, column = divmod(number, columns)
        x, y = GAP + column * (width + GAP), top + row * row_height
        pixel_figure.text(x, y, caption)
        for name, panel, (w, h) in zip(names, panels, sizes, strict=True):
            axes = pixel_figure.axes(x + panel.left, y + caption_height + above, w, h)
            panel.draw(axes, entry.inputs[name], scales, limits[name])
            x += panel.left + w + panel.right + GAP
    return pixel_figure.figure


def draw_image(axes: Axes, image: np.ndarray, *_) -> None:
    """Draws a picture, uint8 [h, w, 1 or 3]."""
    axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, "gray", vmin=0, vmax=255)
    axes.set_axis_off()


def _video(axes: Axes, video: np.ndarray, scales: Scales, _) -> None:
    """Draws every fourth frame of a video [T, S, S, 3] in a row, with its time."""
    frames = video[::_EVERY_FRAMES]
    axes.imshow(np.concatenate(list(frames), axis=1))
    middles = (np.arange(len(frames)) + 0.5) * frames.shape[2] - 0.5
    seconds = np.arange(len(frames)) * _EVERY_FRAMES / scales.frame_rate
    axes.set_xticks(middles, [f"{s:.2f} s" for s in seconds])
    axes.set_yticks([])


def draw_spectrogram(
    axes: Axes,
    spectrogram: np.ndarray,
    scales: Scales,
    limits: tuple[float, float],
    colours: str = "magma",
) -> None:
    """Draws a spectrogram [T, mel bins] with low frequencies at the bottom.

    Args:
      axes: axes to draw in.
      spectrogram: values.
      scales: units of the axes.
      limits: values of the first and the last colour.
      colours: name of a colour map.
    """
    frames, bins = spectrogram.shape
    hop = 1 if scales.mel_hop is None else scales.mel_hop / scales.sample_rate
    axes.imshow(
        spectrogram.T.astype(np.float32),
        colours,
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        aspect="auto",
        extent=(0, frames * hop, -0.5, bins - 0.5),
        interpolation="nearest",
    )
    axes.set_xlabel("frame" if scales.mel_hop is None else "seconds", size=FONT - 1, labelpad=1)
    axes.set_ylabel("mel bin", size=FONT - 1, labelpad=1)


def draw_waveform(axes: Axes, audio: np.ndarray, scales: Scales, *_) -> None:
    """Draws a waveform, int16 [samples]; full scale is 1."""
    draw_over_time(axes, audio / 32768, len(audio) / scales.sample_rate, (-1, 1))
    axes.set_yticks([-1, 0, 1])
    axes.set_ylabel("of full scale", size=FONT - 1, labelpad=1)


def draw_over_time(
    axes: Axes, values: np.ndarray, seconds: float, limits: tuple[float, float]
) -> None:
    """Draws the range of values [samples] in each column of pixels."""
    parts = np.array_split(values, min(len(values), round(axes.bbox.width)))
    ends = np.cumsum([0, *map(len, parts)]) * seconds / len(values)
    axes.fill_between(
        (ends[:-1] + ends[1:]) / 2,
        [part.min() for part in parts],
        [part.max() for part in parts],
        linewidth=0.8,
        color=COLOURS[0],
    )
    axes.set_xlim(0, seconds)
    axes.set_ylim(*limits)
    axes.set_xlabel("seconds", size=FONT - 1, labelpad=1)


def _points(axes: Axes, points: np.ndarray, scales: Scales, _) -> None:
    """Draws a point cloud [M, 3]; near points are bright."""
    _, _, near = project(points, scales.up_axis)
    draw_cloud(axes, points, scales.up_axis, near, limits=(-1.5, 1.5))


def draw_cloud(
    axes: Axes,
    points: np.ndarray,
    up_axis: str,
    values: np.ndarray,
    limits: tuple[float, float],
    size: float = 3,
    colours: str = "viridis",
) -> None:
    """Draws points [M, 3] within the cube from -1 to 1, in parallel projection.

    Args:
      axes: axes to draw in.
      points: points to draw.
      up_axis: axis that is drawn upwards.
      values: a number for each point, shown by its colour.
      limits: values of the first and the last colour.
      size: area of a point, in square points of type.
      colours: name of a colour map.
    """
    corners = np.array(list(itertools.product((-1, 1), repeat=3)))
    for corner, other in itertools.combinations(corners, 2):
        if np.abs(corner - other).sum() == 2:
            edge = project(np.stack([corner, other]), up_axis)
            axes.plot(*edge[:2], color="#cccccc", lw=0.6, zorder=0)
    # Axis names stand at the middle of the outer edges of the cube.
    turned = _AXES_WITH_LAST_UP[up_axis]
    for axis, place in zip(turned, ((0, -1.2, -1.2), (1.2, 0, -1.2), (-1.2, -1.2, 0)), strict=True):
        x, y, _ = np.array(place) @ _view().T
        axes.text(x, y, "xyz"[axis], size=FONT, ha="center", va="center", color="grey")
    across, up, near = project(points, up_axis)
    order = np.argsort(near)  # near points are drawn last
    low, high = limits
    axes.scatter(
        across[order], up[order], size, values[order], cmap=colours, vmin=low, vmax=high, lw=0
    )
    axes.set(xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH), aspect="equal")
    axes.set_axis_off()


def project(points: np.ndarray, up_axis: str) -> np.ndarray:
    """Returns the coordinates [3, M] of points [M, 3] to the right, up and towards the viewer."""
    return _view() @ points[:, _AXES_WITH_LAST_UP[up_axis]].T


def _view() -> np.ndarray:
    """Returns the directions right, up and towards the viewer in rows; the third axis is up."""
    near = np.array(
        [
            math.cos(_ELEVATION) * math.cos(_AZIMUTH),
            math.cos(_ELEVATION) * math.sin(_AZIMUTH),
            math.sin(_ELEVATION),
        ]
    )
    right = np.array([-math.sin(_AZIMUTH), math.cos(_AZIMUTH), 0])
    return np.stack([right, np.cross(near, right), near])


def _limits(entries: Sequence[Entry], name: str) -> tuple[float, float]:
    """Returns the lowest and the highest value of an input over all entries."""
    arrays = [entry.inputs[name] for entry in entries]
    return float(min(a.min() for a in arrays)), float(max(a.max() for a in arrays))


def _picture_size(image: np.ndarray) -> tuple[int, int]:
    """Returns the size of a picture: small ones are enlarged by a whole factor."""
    side = image.shape[0] * max(1, _PICTURE // image.shape[0])
    return (min(side, _PICTURE), min(side, _PICTURE))


def _strip_size(video: np.ndarray) -> tuple[int, int]:
    return (_FRAME * -(-len(video) // _EVERY_FRAMES), _FRAME)


# In their order from left to right.
_PANELS = {
    "image": _Panel(_picture_size, draw_image),
    "points": _Panel(lambda _: (_CLOUD, _CLOUD), _points),
    "video": _Panel(_strip_size, _video, below=20),
    "spectrogram": _Panel(lambda _: _SOUND, draw_spectrogram, left=40, above=6, right=8, below=34),
    "audio": _Panel(lambda _: _SOUND, draw_waveform, left=40, above=6, right=8, below=34),
}

INPUTS = tuple(_PANELS)
