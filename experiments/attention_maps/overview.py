"""The attention maps of all latents in one picture (Fig. 3, rows 2 to 4)."""

import math

import numpy as np
from matplotlib.figure import Figure

from experiments.figures.attention.colours import LOGITS, Look, factor_to_fit, painted_map
from experiments.figures.attention.layouts import Part, places, shown_steps
from experiments.figures.contact_sheets import Scales
from experiments.figures.pixel_figure import GAP, LINE, Canvas, fitted

_TILE = 128  # pixels, at most, of the longer side of a picture, spectrogram or cloud
_STRIP = 480  # of a video or of sound
_SOUND_HEIGHT = 8
_BETWEEN = 3  # pixels between maps
_NUMBERS = 40  # pixels left of the rows, for the number of the first latent
_NARROWEST = 640
_SHAPE = 2.0  # width over height that a picture of square tiles comes near to
_BAR = (160, 8)  # pixels


def overview(
    title: str,
    part: Part,
    inputs: np.ndarray,
    values: np.ndarray,
    look: Look,
    scales: Scales,
    *,
    num_inputs: int,
) -> Figure:
    """Draws the maps of all latents in reading order, each in colours of its own.

    Args:
      title: what is shown.
      part: the modality.
      inputs: its array of one example, without B, of which a point cloud's places are taken.
      values: [N, M], NaN where nothing is seen.
      look: the colours.
      scales: what the numbers of the input mean.
      num_inputs: which the cross-attend sees, those of all modalities.
    """
    where, factor = _tile(part, inputs, values, scales)
    tiles = []
    for of_latent in values:
        tile = painted_map(of_latent, where, factor, look, look.limits(of_latent))
        tiles.append(tile[:1].repeat(_SOUND_HEIGHT, axis=0) if part.modality == "audio" else tile)
    height, width = tiles[0].shape[:2]
    columns = _columns(len(tiles), width, height)
    picture = _grid(tiles, columns)

    sheet = max(_NARROWEST, _NUMBERS + picture.shape[1] + GAP)
    lines = fitted(title, sheet - 2 * GAP, 3)
    notes = [
        x
        for note in _notes(values, look, factor, num_inputs)
        for x in fitted(note, sheet - 2 * GAP, 2)
    ]
    top = 2 * GAP + LINE * (len(lines) + len(notes) + 1) + GAP
    canvas = Canvas(sheet, top + picture.shape[0] + GAP)
    canvas.text(GAP, GAP, lines, weight="bold")
    canvas.text(GAP, GAP + LINE * len(lines), notes)
    _draw_legend(canvas, GAP + LINE * (len(lines) + len(notes)) + 3, look)
    axes = canvas.axes(_NUMBERS, top, picture.shape[1], picture.shape[0])
    axes.imshow(picture, interpolation="none")
    axes.set_axis_off()
    rows = -(-len(tiles) // columns)
    every = -(-LINE // (height + _BETWEEN))  # rows that a number takes
    for row in range(0, rows, every):
        y = top + row * (height + _BETWEEN)
        canvas.text(_NUMBERS - 6, y, [str(row * columns)], side="right")
    return canvas.figure


def _tile(part, inputs, values, scales):
    """The places of one map, and by which factor they are enlarged."""
    if part.modality == "points":
        return places(part, points=inputs, up_axis=scales.up_axis, side=_TILE), 1
    if part.modality == "video":
        steps = shown_steps(part, values)
        room = min(_TILE, _STRIP // len(steps) - 1)
        return places(part, steps=steps), factor_to_fit(max(part.grid[1:]), room)
    where = places(part)
    room = _STRIP if part.modality == "audio" else _TILE
    factor = factor_to_fit(max(where.shape), room)
    return where, factor


def _columns(count, width, height):
    """Maps in a row: a divisor of their count if one is near."""
    wanted = math.sqrt(count * _SHAPE * (height + _BETWEEN) / (width + _BETWEEN))
    wanted = min(count, max(1, wanted))
    divisors = [n for n in range(1, count + 1) if count % n == 0]
    nearest = min(divisors, key=lambda n: abs(math.log(n / wanted)))
    return nearest if 2 / 3 < nearest / wanted < 3 / 2 else round(wanted)


def _grid(tiles, columns):
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    shape = (rows * (height + _BETWEEN) - _BETWEEN, columns * (width + _BETWEEN) - _BETWEEN, 3)
    picture = np.full(shape, 255, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        y, x = row * (height + _BETWEEN), column * (width + _BETWEEN)
        picture[y : y + height, x : x + width] = tile
    return picture


def _notes(values, look, factor, num_inputs):
    """What the numbers behind the colours are."""
    lows, highs = np.nanmin(values, axis=-1), np.nanmax(values, axis=-1)
    yield (
        f"{len(values)} latents in reading order, counted from 0; the number before a row is that "
        "of its first. Each map has its own range of colours."
    )
    if look is LOGITS:
        reach = np.median(highs - lows)
        yield (
            f"Logits of all maps: {look.text(lows.min())} to {look.text(highs.max())}; from the "
            f"lowest to the highest of a map: {look.text(reach)} (median)."
        )
    else:
        share = np.nansum(values, axis=-1, dtype=np.float64).mean()
        others = f" {share:.1%} of all weight is here." if share < 0.9999 else ""
        yield (
            f"Highest weight of a map: {look.text(np.median(highs))} (median), at most "
            f"{look.text(highs.max())}; the same weight for all {num_inputs:,} inputs would be "
            f"{look.text(1 / num_inputs)}.{others}"
        )
    if factor < 0:
        shown = "mean" if look is LOGITS else "highest weight"
        yield f"A pixel shows the {shown} of up to {-factor} inputs across and {-factor} down."


def _draw_legend(canvas, y, look):
    low, high = ("0", "a map's highest weight") if look.from_zero else ("its lowest", "its highest")
    width, height = _BAR
    canvas.text(GAP, y, [low])
    x = GAP + 7 * (len(low) + 1)
    axes = canvas.axes(x, y + 2, width, height)
    axes.imshow(np.linspace(0, 1, 256)[None], look.colours, aspect="auto")
    axes.set_axis_off()
    canvas.text(x + width + 7, y, [high])
