"""Draws the attention maps of all latents in one picture (Fig. 3, rows 2 to 4)."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.figures.attention.colours import LOGITS, Palette, factor_to_fit, map_to_rgb
from experiments.figures.attention.layouts import InputGrid, drawn_steps, inputs_at_pixels
from experiments.figures.contact_sheets import Scales
from experiments.figures.pixel_figure import GAP, LINE, PixelFigure, fitted

_TILE = 128  # largest number of pixels of the longer side of a picture, spectrogram or cloud
_STRIP = 480  # largest width of a video or sound
_SOUND_HEIGHT = 8
_BETWEEN = 3  # pixels between maps
_NUMBERS = 40  # pixels left of each row for the number of its first latent
_NARROWEST = 640
_SHAPE = 2.0  # approximate ratio of width to height
_BAR = (160, 8)  # pixels


def draw_overview(
    title: str,
    part: InputGrid,
    inputs: np.ndarray,
    values: np.ndarray,
    palette: Palette,
    scales: Scales,
    *,
    num_inputs: int,
) -> Figure:
    """Draws the maps of all latents in reading order, each with its own range of colours.

    Args:
      title: title of the picture.
      part: grid of the modality.
      inputs: array of one example, without the axis B; the positions of a point cloud.
      values: [N, M], NaN outside the visible range.
      palette: colours of the maps.
      scales: units of the input.
      num_inputs: size of the cross-attend's visible range over all modalities.
    """
    where, factor = _tile(part, inputs, values, scales)
    tiles = []
    for values_of_latent in values:
        limits = palette.limits(values_of_latent)
        tile = map_to_rgb(values_of_latent, where, factor, palette, limits)
        tiles.append(tile[:1].repeat(_SOUND_HEIGHT, axis=0) if part.modality == "audio" else tile)
    height, width = tiles[0].shape[:2]
    columns = _columns(len(tiles), width, height)
    picture = _grid(tiles, columns)

    sheet = max(_NARROWEST, _NUMBERS + picture.shape[1] + GAP)
    lines = fitted(title, sheet - 2 * GAP, 3)
    notes = [
        x
        for note in _notes(values, palette, factor, num_inputs)
        for x in fitted(note, sheet - 2 * GAP, 2)
    ]
    top = 2 * GAP + LINE * (len(lines) + len(notes) + 1) + GAP
    pixel_figure = PixelFigure(sheet, top + picture.shape[0] + GAP)
    pixel_figure.text(GAP, GAP, lines, weight="bold")
    pixel_figure.text(GAP, GAP + LINE * len(lines), notes)
    _draw_legend(pixel_figure, GAP + LINE * (len(lines) + len(notes)) + 3, palette)
    axes = pixel_figure.axes(_NUMBERS, top, picture.shape[1], picture.shape[0])
    axes.imshow(picture, interpolation="none")
    axes.set_axis_off()
    rows = -(-len(tiles) // columns)
    every = -(-LINE // (height + _BETWEEN))  # rows that a number takes
    for row in range(0, rows, every):
        y = top + row * (height + _BETWEEN)
        pixel_figure.text(_NUMBERS - 6, y, [str(row * columns)], side="right")
    return pixel_figure.figure


def _tile(
    part: InputGrid, inputs: np.ndarray, values: np.ndarray, scales: Scales
) -> tuple[np.ndarray, int]:
    """Returns the input at each pixel of one map, and the factor that enlarges it."""
    if part.modality == "points":
        return inputs_at_pixels(part, points=inputs, up_axis=scales.up_axis, side=_TILE), 1
    if part.modality == "video":
        steps = drawn_steps(part, values)
        room = min(_TILE, _STRIP // len(steps) - 1)
        return inputs_at_pixels(part, steps=steps), factor_to_fit(max(part.grid[1:]), room)
    where = inputs_at_pixels(part)
    room = _STRIP if part.modality == "audio" else _TILE
    factor = factor_to_fit(max(where.shape), room)
    return where, factor


def _columns(count: int, width: int, height: int) -> int:
    """Returns the number of maps in a row, a divisor of their count if possible."""
    wanted = math.sqrt(count * _SHAPE * (height + _BETWEEN) / (width + _BETWEEN))
    wanted = min(count, max(1, wanted))
    divisors = [n for n in range(1, count + 1) if count % n == 0]
    nearest = min(divisors, key=lambda n: abs(math.log(n / wanted)))
    return nearest if 2 / 3 < nearest / wanted < 3 / 2 else round(wanted)


def _grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    shape = (rows * (height + _BETWEEN) - _BETWEEN, columns * (width + _BETWEEN) - _BETWEEN, 3)
    picture = np.full(shape, 255, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        y, x = row * (height + _BETWEEN), column * (width + _BETWEEN)
        picture[y : y + height, x : x + width] = tile
    return picture


def _notes(values: np.ndarray, palette: Palette, factor: int, num_inputs: int) -> Iterator[str]:
    """Yields lines of text that explain the colours."""
    lows, highs = np.nanmin(values, axis=-1), np.nanmax(values, axis=-1)
    yield (
        f"{len(values)} latents in reading order, numbered from 0; the number before each row is "
        "that of its first latent. Each map has its own range of colours."
    )
    if palette is LOGITS:
        reach = np.median(highs - lows)
        yield (
            f"Logits of all maps: {palette.text(lows.min())} to {palette.text(highs.max())}; "
            f"from the lowest to the highest of a map: {palette.text(reach)} (median)."
        )
    else:
        share = np.nansum(values, axis=-1, dtype=np.float64).mean()
        others = f" {share:.1%} of all weight is here." if share < 0.9999 else ""
        yield (
            f"Highest weight of a map: {palette.text(np.median(highs))} (median), at most "
            f"{palette.text(highs.max())}; the same weight for all {num_inputs:,} inputs would be "
            f"{palette.text(1 / num_inputs)}.{others}"
        )
    if factor < 0:
        shown = "mean" if palette is LOGITS else "highest weight"
        yield f"A pixel shows the {shown} of up to {-factor} inputs across and {-factor} down."


def _draw_legend(pixel_figure: PixelFigure, y: int, palette: Palette) -> None:
    low, high = "its lowest", "its highest"
    if palette.from_zero:
        low, high = "0", "a map's highest weight"
    width, height = _BAR
    pixel_figure.text(GAP, y, [low])
    x = GAP + 7 * (len(low) + 1)
    axes = pixel_figure.axes(x, y + 2, width, height)
    axes.imshow(np.linspace(0, 1, 256)[None], palette.colours, aspect="auto")
    axes.set_axis_off()
    pixel_figure.text(x + width + 7, y, [high])
