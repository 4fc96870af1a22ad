"""Colours and pixels of attention maps."""

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
from matplotlib import colormaps

# The colour of inputs outside a cross-attend's visible range, and of the background of points.
BACKGROUND = (0.6, 0.6, 0.6)
_WHITE = 255


@dataclasses.dataclass(frozen=True)
class Palette:
    """The colours of a kind of map.

    Attributes:
      colours: name of a matplotlib colour map from dark to bright.
      from_zero: True if the darkest colour is 0, otherwise it is the lowest value of a map.
      reduce: function that combines the values that share a pixel.
      text: function that formats a value.
    """

    colours: str
    from_zero: bool
    reduce: Callable[..., np.ndarray]
    text: Callable[[float], str]

    def limits(self, values: np.ndarray) -> tuple[float, float]:
        """Returns the values of the darkest and the brightest colour of a map; NaN is ignored."""
        low = 0.0 if self.from_zero else float(np.nanmin(values))
        high = float(np.nanmax(values))
        return low, high if high > low else low + 1e-6

    def to_rgb(self, values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
        """Returns colours, uint8 [..., 3], of values [...]; NaN is grey."""
        low, high = limits
        colours = colormaps[self.colours]((values - low) / (high - low), bytes=True)[..., :3]
        grey = np.round(255 * np.array(BACKGROUND)).astype(np.uint8)
        return np.where(np.isnan(values)[..., None], grey, colours)


# Logits have no zero: adding a constant to all of them does not change the softmax.
LOGITS = Palette("viridis", False, np.nanmean, lambda x: f"{x:.3g}")
# Nearly all weights are close to 0, so a mean would hide a large one among its neighbours.
WEIGHTS = Palette("inferno", True, np.nanmax, lambda x: f"{100 * x:.2g}%")


def factor_to_fit(size: int, room: int) -> int:
    """Returns the factor for `resized` that makes `size` pixels fit `room` pixels."""
    return room // size if size <= room else -size // room


def resized(pictures: np.ndarray, factor: int, reduce: Callable[..., np.ndarray]) -> np.ndarray:
    """Returns pictures [pictures, rows, columns] enlarged or reduced by a whole factor.

    Args:
      pictures: values, NaN where there is none.
      factor: 3 enlarges three times, -3 reduces to a third; not 0.
      reduce: function that combines the values that share a pixel, ignoring NaN.
    """
    if factor > 0:
        return pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    step = -factor
    count, rows, columns = pictures.shape
    padding = ((0, 0), (0, -rows % step), (0, -columns % step))
    pictures = np.pad(pictures, padding, constant_values=np.nan)
    blocks = pictures.reshape(count, pictures.shape[1] // step, step, -1, step).swapaxes(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # raised for pixels without a value
        return reduce(blocks, axis=(3, 4))


def map_to_rgb(
    values: np.ndarray,
    input_numbers: np.ndarray,
    factor: int,
    palette: Palette,
    limits: tuple[float, float],
    gap: int = 1,
) -> np.ndarray:
    """Returns a map as a picture, uint8 [rows, columns, 3].

    Args:
      values: [M], NaN where there is no value.
      input_numbers: int [pictures, rows, columns], the number of the input at each pixel, or -1.
      factor: factor for `resized`.
      palette: colours of the map.
      limits: values of the darkest and the brightest colour.
      gap: white pixels between the pictures.
    """
    drawn = np.where(input_numbers < 0, np.nan, values[input_numbers])
    return side_by_side(palette.to_rgb(resized(drawn, factor, palette.reduce), limits), gap)


def side_by_side(pictures: np.ndarray, gap: int) -> np.ndarray:
    """Returns pictures uint8 [pictures, rows, columns, 3] in a row with white gaps."""
    padding = ((0, 0), (0, 0), (0, gap), (0, 0))
    row = np.concatenate(list(np.pad(pictures, padding, constant_values=_WHITE)), axis=1)
    return row[:, : row.shape[1] - gap]
