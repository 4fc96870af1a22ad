"""How numbers of attention become colours and pixels."""

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
from matplotlib import colormaps

NOTHING = (0.6, 0.6, 0.6)  # what a cross-attend does not see, and what is behind points
_WHITE = 255


@dataclasses.dataclass(frozen=True)
class Look:
    """How numbers become colours.

    Attributes:
      colours: a colour map of matplotlib, dark to bright.
      from_zero: whether dark is 0; otherwise it is a map's lowest number.
      reduce: of the numbers that fall on one pixel, which one is shown.
      text: writes a number.
    """

    colours: str
    from_zero: bool
    reduce: Callable[..., np.ndarray]
    text: Callable[[float], str]

    def limits(self, values: np.ndarray) -> tuple[float, float]:
        """What is darkest and what is brightest in a map; NaN is passed over."""
        low = 0.0 if self.from_zero else float(np.nanmin(values))
        high = float(np.nanmax(values))
        return low, high if high > low else low + 1e-6

    def painted(self, values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
        """Colours, uint8 [..., 3], of values [...]; grey for NaN."""
        low, high = limits
        colours = colormaps[self.colours]((values - low) / (high - low), bytes=True)[..., :3]
        grey = np.round(255 * np.array(NOTHING)).astype(np.uint8)
        return np.where(np.isnan(values)[..., None], grey, colours)


# Logits have no zero: where they all grow by the same number, the softmax stays as it is.
LOGITS = Look("viridis", False, np.nanmean, lambda x: f"{x:.3g}")
# Weights are next to 0 nearly everywhere: one that is not must not get lost among its neighbours.
WEIGHTS = Look("inferno", True, np.nanmax, lambda x: f"{100 * x:.2g}%")


def factor_to_fit(size: int, room: int) -> int:
    """By which `scaled` makes so many pixels fit the room: 3 three times as large, -3 a third."""
    return room // size if size <= room else -size // room


def scaled(pictures: np.ndarray, factor: int, reduce: Callable[..., np.ndarray]) -> np.ndarray:
    """Pictures [pictures, rows, columns], so many times as large or small.

    Args:
      pictures: numbers; NaN for none.
      factor: 3 for three times as large, -3 for a third; not 0.
      reduce: makes one number of those that fall on the same pixel, passing over NaN.
    """
    if factor > 0:
        return pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    step = -factor
    count, rows, columns = pictures.shape
    padding = ((0, 0), (0, -rows % step), (0, -columns % step))
    pictures = np.pad(pictures, padding, constant_values=np.nan)
    blocks = pictures.reshape(count, pictures.shape[1] // step, step, -1, step).swapaxes(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels on which nothing falls
        return reduce(blocks, axis=(3, 4))


def painted_map(
    values: np.ndarray,
    places: np.ndarray,
    factor: int,
    look: Look,
    limits: tuple[float, float],
    gap: int = 1,
) -> np.ndarray:
    """A map as a picture, uint8 [rows, columns, 3].

    Args:
      values: [M], NaN for none.
      places: int [pictures, rows, columns], the number of the input at each place or -1.
      factor: by which these are enlarged or, below 0, made smaller.
      look: its colours.
      limits: of the darkest and the brightest.
      gap: pixels of white between the pictures.
    """
    numbers = np.where(places < 0, np.nan, values[places])
    return side_by_side(look.painted(scaled(numbers, factor, look.reduce), limits), gap)


def side_by_side(pictures: np.ndarray, gap: int) -> np.ndarray:
    """Pictures uint8 [pictures, rows, columns, 3] in a row, white between."""
    padding = ((0, 0), (0, 0), (0, gap), (0, 0))
    row = np.concatenate(list(np.pad(pictures, padding, constant_values=_WHITE)), axis=1)
    return row[:, : row.shape[1] - gap]
