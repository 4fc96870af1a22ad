"""Layouts of inputs: maps attention to M inputs back to pixels, times and points.

It reverses the way to the byte array: it separates modalities (Sec. 4.2), restores the order of
permuted inputs (Table 2), and places the visible range of a cross-attend of an unrolled network.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from experiments.figures.contact_sheets import project
from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.library import Classifier
from perceiver.permutations import permuted

# Number of dimensions of each modality's grid of inputs; a point cloud is a row of points.
_DIMENSIONS = {"image": 2, "points": 1, "audio": 1, "spectrogram": 2, "video": 3}
_EVERY_FRAMES = 2  # every second frame of a video is drawn, as in the paper (App. E)
_NO_INPUT = -1
_NUMBER = 0  # example number of a single example, which selects a 'random' permutation


@dataclasses.dataclass(frozen=True)
class InputGrid:
    """The grid of inputs of one modality.

    Attributes:
      modality: name of the modality.
      grid: number of inputs along each dimension, M in total, numbered in row-major order.
      patch: number of frames, pixels or samples of an input along each dimension.
    """

    modality: str
    grid: tuple[int, ...]
    patch: tuple[int, ...]

    @property
    def num_inputs(self) -> int:
        """The number of inputs M."""
        return math.prod(self.grid)


def input_grids(classifier: Classifier) -> tuple[InputGrid, ...]:
    """Returns the grids of a network's modalities, in the order in which they are fused.

    Raises:
      InputError: maps of a modality cannot be drawn.
    """
    parts = []
    for modality, spec in classifier.inputs.items():
        if modality not in _DIMENSIONS:
            raise InputError(
                f"attention maps of {modality} can't be drawn; those of "
                f"{', '.join(_DIMENSIONS)} can"
            )
        shape = spec.shape[: _DIMENSIONS[modality]]
        patch = classifier.model["inputs"][modality].get("patch", 1)
        patch = tuple(patch) if isinstance(patch, (tuple, list)) else (patch,) * len(shape)
        grid = tuple(size // step for size, step in zip(shape, patch, strict=True))
        parts.append(InputGrid(modality, grid, patch))
    return tuple(parts)


def split_by_modality(
    classifier: Classifier, maps: np.ndarray, *, cross_attend: int
) -> dict[str, np.ndarray]:
    """Splits maps by modality and restores the order of the inputs.

    Args:
      classifier: the network.
      maps: [..., M], a value for each input in the visible range of the cross-attend.
      cross_attend: number of the cross-attend, from 0.

    Returns:
      [..., M_i] for each modality in row-major order, NaN outside the visible range.
    """
    parts, model = input_grids(classifier), classifier.model
    if model["unrolled"]:
        (part,) = parts
        size = part.num_inputs // model["num_cross_attends"]
        whole = np.full([*maps.shape[:-1], part.num_inputs], np.nan, np.float32)
        whole[..., cross_attend * size : (cross_attend + 1) * size] = maps
        return {part.modality: whole}
    ends = np.cumsum([part.num_inputs for part in parts])
    split = np.split(maps, ends[:-1], axis=-1)
    return {
        part.modality: _unpermuted(maps_of_part, model["permutation"], model["permutation_seed"])
        for part, maps_of_part in zip(parts, split, strict=True)
    }


def _unpermuted(maps: np.ndarray, permutation: str, seed: int) -> np.ndarray:
    """Returns maps [..., M] of permuted inputs in the order before the permutation."""
    if permutation == "none":
        return maps
    num_inputs = maps.shape[-1]
    # The network's function permutes the input numbers.
    numbers = ByteArray(
        jnp.arange(num_inputs, dtype=jnp.int32)[None, :, None], jnp.zeros([num_inputs, 0])
    )
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        moved = permuted(numbers, permutation, seed, jnp.array([_NUMBER]))
    back = np.empty_like(maps)
    back[..., np.asarray(moved.content[0, :, 0])] = maps
    return back


def drawn_steps(part: InputGrid, values: np.ndarray | None = None) -> np.ndarray:
    """Returns the time steps of a video that are drawn: at most every second frame.

    Args:
      part: grid of the video.
      values: [..., M]; if given, steps with only NaN are left out.
    """
    steps = np.arange(0, part.grid[0], max(1, _EVERY_FRAMES // part.patch[0]))
    if values is not None:
        visible = np.isfinite(values).reshape(-1, part.grid[0], part.num_inputs // part.grid[0])
        steps = steps[visible.any((0, 2))[steps]]
    return steps


def inputs_at_pixels(
    part: InputGrid,
    *,
    steps: np.ndarray | None = None,
    points: np.ndarray | None = None,
    up_axis: str = "z",
    side: int = 112,
) -> np.ndarray:
    """Returns the number of the input at each pixel of pictures that are drawn side by side.

    Args:
      part: grid of the inputs.
      steps: time steps of a video to draw, one picture each.
      points: points of a point cloud, [M, 3] in the cube from -1 to 1.
      up_axis: axis of a point cloud that is drawn upwards.
      side: width and height of the picture of a point cloud, in pixels.

    Returns:
      int [pictures, rows, columns], -1 at pixels without an input: image [1, height, width];
      spectrogram [1, bins, T] with low frequencies at the bottom; audio [1, 1, T]; video
      [steps, height, width]; points [1, side, side].
    """
    numbers = np.arange(part.num_inputs).reshape(part.grid)
    if part.modality == "spectrogram":
        return numbers.T[None, ::-1]
    if part.modality == "audio":
        return numbers[None, None]
    if part.modality == "video":
        return numbers[steps]
    if part.modality == "points":
        assert points is not None
        return _nearest_points(points, up_axis, side)[None]
    return numbers[None]


def _nearest_points(points: np.ndarray, up_axis: str, side: int) -> np.ndarray:
    """Returns the number of the nearest point at each pixel, [side, side]; the cloud fills it."""
    across, up, near = project(points, up_axis)
    reach = 1.02 * max(np.abs(across).max(), np.abs(up).max(), 1e-6)
    order = np.argsort(near)
    # A point is two pixels wide and high. The nearest point is written last.
    row = np.floor((1 - up / reach) / 2 * side)[order, None] - [1, 1, 0, 0]
    column = np.floor((1 + across / reach) / 2 * side)[order, None] - [1, 0, 1, 0]
    picture = np.full([side, side], _NO_INPUT)
    row, column = (np.clip(x, 0, side - 1).astype(int) for x in (row, column))
    picture[row, column] = order[:, None]
    return picture
