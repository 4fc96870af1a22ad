"""Where the inputs of a network lie: from attention to M inputs back to pixels, times and points.

What a network did on its way to the byte array is undone: modalities are taken apart (Sec. 4.2),
permuted inputs put back (Table 2), and the share that a cross-attend of an unrolled network sees is
put at its place.
"""

import dataclasses
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from experiments.figures.contact_sheets import project
from perceiver.byte_array import ByteArray
from perceiver.errors import InputError
from perceiver.permutations import permuted

if TYPE_CHECKING:
    from perceiver.library import Classifier

# Dimensions of each modality's grid of inputs; a point cloud is a row of points.
_DIMENSIONS = {"image": 2, "points": 1, "audio": 1, "spectrogram": 2, "video": 3}
_EVERY_FRAMES = 2  # of a video, as the paper shows them (App. E)
_NOTHING = -1
_NUMBER = 0  # of an example on its own, which decides the order where `permutation` is 'random'


@dataclasses.dataclass(frozen=True)
class Part:
    """The inputs of one modality.

    Attributes:
      modality: its name.
      grid: inputs along each dimension; M in all, numbered in row-major order.
      patch: for each dimension, how many frames, pixels or samples an input has.
    """

    modality: str
    grid: tuple[int, ...]
    patch: tuple[int, ...]

    @property
    def num_inputs(self) -> int:
        """M."""
        return math.prod(self.grid)


def parts_of(classifier: "Classifier") -> tuple[Part, ...]:
    """The modalities of a network, in the order in which they are fused.

    Raises:
      ValueError: one of a modality that has no layout here.
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
        grid = tuple(size // of_patch for size, of_patch in zip(shape, patch, strict=True))
        parts.append(Part(modality, grid, patch))
    return tuple(parts)


def by_modality(
    classifier: "Classifier", maps: np.ndarray, *, cross_attend: int
) -> dict[str, np.ndarray]:
    """Takes apart what belongs to different modalities, each input at its own place.

    Args:
      classifier: the network.
      maps: [..., M], a number for each input that the cross-attend sees.
      cross_attend: which one, counted from 0.

    Returns:
      For each modality [..., M_i] in row-major order, NaN where the cross-attend sees nothing.
    """
    parts, model = parts_of(classifier), classifier.model
    if model["unrolled"]:
        (part,) = parts
        size = part.num_inputs // model["num_cross_attends"]
        whole = np.full([*maps.shape[:-1], part.num_inputs], np.nan, np.float32)
        whole[..., cross_attend * size : (cross_attend + 1) * size] = maps
        return {part.modality: whole}
    ends = np.cumsum([part.num_inputs for part in parts])
    split = np.split(maps, ends[:-1], axis=-1)
    return {
        part.modality: _put_back(own, model["permutation"], model["permutation_seed"])
        for part, own in zip(parts, split, strict=True)
    }


def _put_back(maps, permutation, seed):
    """[..., M], those of permuted inputs, in the order before."""
    if permutation == "none":
        return maps
    num_inputs = maps.shape[-1]
    # The network's own function is asked where each input went.
    numbers = ByteArray(
        jnp.arange(num_inputs, dtype=jnp.int32)[None, :, None], jnp.zeros([num_inputs, 0])
    )
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        moved = permuted(numbers, permutation, seed, jnp.array([_NUMBER]))
    back = np.empty_like(maps)
    back[..., np.asarray(moved.content[0, :, 0])] = maps
    return back


def shown_steps(part: Part, values: np.ndarray | None = None) -> np.ndarray:
    """The time steps of a video of which a column is shown: every other frame, at the most.

    Args:
      part: a video's.
      values: [..., M]; where they are given, steps of which all is NaN are left out.
    """
    steps = np.arange(0, part.grid[0], max(1, _EVERY_FRAMES // part.patch[0]))
    if values is not None:
        seen = np.isfinite(values).reshape(-1, part.grid[0], part.num_inputs // part.grid[0])
        steps = steps[seen.any((0, 2))[steps]]
    return steps


def places(
    part: Part,
    *,
    steps: np.ndarray | None = None,
    points: np.ndarray | None = None,
    up_axis: str = "z",
    side: int = 112,
) -> np.ndarray:
    """The number of the input that is drawn at each place of small pictures side by side.

    Args:
      part: the inputs.
      steps: of a video, which are drawn, side by side.
      points: of a point cloud, its points, [M, 3] in the cube from -1 to 1.
      up_axis: of a point cloud, the axis that is drawn upwards.
      side: of a point cloud, pixels of the picture across and down.

    Returns:
      int [pictures, rows, columns], -1 where nothing is drawn: image [1, height, width];
      spectrogram [1, bins, T], low sounds below; audio [1, 1, T]; video [steps, height, width];
      points [1, side, side].
    """
    numbers = np.arange(part.num_inputs).reshape(part.grid)
    if part.modality == "spectrogram":
        return numbers.T[None, ::-1]
    if part.modality == "audio":
        return numbers[None, None]
    if part.modality == "video":
        return numbers[steps]
    if part.modality == "points":
        return _nearest_points(points, up_axis, side)[None]
    return numbers[None]


def _nearest_points(points, up_axis, side):
    """[side, side]: of the points that lie on a pixel, the nearest; the cloud fills the picture."""
    across, up, near = project(points, up_axis)
    reach = 1.02 * max(np.abs(across).max(), np.abs(up).max(), 1e-6)
    order = np.argsort(near)
    # A point is two pixels wide and high. Of several the last remains, which is the nearest.
    row = np.floor((1 - up / reach) / 2 * side)[order, None] - [1, 1, 0, 0]
    column = np.floor((1 + across / reach) / 2 * side)[order, None] - [1, 0, 1, 0]
    picture = np.full([side, side], _NOTHING)
    row, column = (np.clip(x, 0, side - 1).astype(int) for x in (row, column))
    picture[row, column] = order[:, None]
    return picture
