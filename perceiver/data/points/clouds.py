"""Preprocesses and augments point clouds (Sec. 4.3).

The paper zero-centres a cloud, scales each point by a random factor in training, and then
normalises to zero mean and the unit cube. Translation of points and rotation of the cloud, which
the paper tried without a gain, are options, and so is the point dropout of PointNet++.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from perceiver.data.dataset import Source
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

ROTATIONS = ("none", "up", "any")
AXES = ("x", "y", "z")


@dataclasses.dataclass(frozen=True)
class CloudRecipe:
    """The preprocessing and augmentation of each cloud.

    A cloud is zero-centred. Training draws num_points points without replacement and augments
    them; evaluation takes the first num_points. The result is normalised to zero mean and the unit
    cube. Finally, training drops points.

    Attributes:
      num_points: number M of points in the result.
      scale: range of the random factor of each point; (0.99, 1.01) in the paper.
      translation: maximum random movement of a point along each axis, relative to the largest
        absolute coordinate of the cloud; 0 for none.
      rotation: 'none', 'up' (about the up axis) or 'any'.
      up_axis: axis that points up, for rotation 'up': 'x', 'y' or 'z'.
      dropout: maximum fraction of dropped points, see `drop`.

    Raises:
      InputError: an attribute is out of range.
    """

    num_points: int
    scale: tuple[float, float]
    translation: float
    rotation: str
    up_axis: str = "y"
    dropout: float = 0.0

    def __post_init__(self):
        if self.num_points < 1:
            raise InputError(f"num_points is {self.num_points}: give at least 1")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise InputError(
                f"scale is {self.scale}: give a range of positive factors, such as (0.99, 1.01)"
            )
        if not 0 <= self.translation < math.inf:
            raise InputError(f"translation is {self.translation}: give 0 or more")
        if self.rotation not in ROTATIONS:
            raise InputError(f"rotation is {self.rotation!r}: give one of {ROTATIONS}")
        if self.up_axis not in AXES:
            raise InputError(f"up_axis is {self.up_axis!r}: give one of {AXES}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: give a fraction from 0 to below 1")

    def __call__(self, points: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """Maps points float32 [P, 3] to points [M, 3], and augments them if a seed is given."""
        if seed is None:
            # Normalised twice, as in training, but after the choice: the result for a file must
            # not depend on the number of points that were read in addition to the chosen ones.
            return normalise(normalise(choose(points, self.num_points, None)))
        # The paper only zero-centres here. Scaling to the unit cube as well makes `translation`
        # independent of the unit of length, and the final normalisation replaces the scale.
        points = normalise(points)
        choice_seed, augmentation_seed, dropout_seed = tf.unstack(tf.random.split(seed, 3))
        points = choose(points, self.num_points, choice_seed)
        points = augment(
            points,
            augmentation_seed,
            scale=self.scale,
            translation=self.translation,
            rotation=self.rotation,
            up_axis=self.up_axis,
        )
        return drop(normalise(points), dropout_seed, self.dropout)


def source(
    points: np.ndarray, labels: np.ndarray, recipe: CloudRecipe, name: Callable[[int], str]
) -> Source:
    """Returns a split whose clouds are in memory.

    Args:
      points: array float32 [n, P, 3].
      labels: array int32 [n].
      recipe: preprocessing and augmentation of each cloud.
      name: function index -> name of a cloud in messages.

    Returns:
      A source of 'points', float32 [M, 3] within [-1, 1], and 'label', int32 [].
    """
    # tf.data captures large constants by reference, so there is one copy in memory.
    all_points, all_labels = tf.constant(points), tf.constant(labels)

    def example(index: tf.Tensor, seed: tf.Tensor | None) -> dict[str, tf.Tensor]:
        return {
            "points": recipe(tf.gather(all_points, index), seed),
            "label": tf.gather(all_labels, index),
        }

    return Source(len(labels), example, name)


def choose(points: tf.Tensor, num_points: int, seed: tf.Tensor | None) -> tf.Tensor:
    """Returns num_points of the points [P, 3]: random ones with a seed, the first ones without.

    With a seed their order is random too, for networks that arrange points on a grid.
    """
    if seed is not None:
        order = tf.random.experimental.stateless_shuffle(tf.range(points.shape[0]), seed)
        return tf.gather(points, order[:num_points])
    return points[:num_points]


def zero_centre(points: tf.Tensor) -> tf.Tensor:
    """Moves the mean of the points [M, 3] to the origin."""
    return points - tf.reduce_mean(points, axis=0)


def normalise(points: tf.Tensor) -> tf.Tensor:
    """Normalises points [M, 3] to zero mean and a largest absolute coordinate of 1.

    Points that all coincide move to the origin.
    """
    centred = zero_centre(points)
    return tf.math.divide_no_nan(centred, tf.reduce_max(tf.abs(centred)))


def augment(
    points: tf.Tensor,
    seed: tf.Tensor,
    *,
    scale: tuple[float, float],
    translation: float,
    rotation: str,
    up_axis: str,
) -> tf.Tensor:
    """Rotates a zero-centred cloud, then scales and translates each point independently.

    Args:
      points: zero-centred points, float32 [M, 3].
      seed: seed of the augmentation, int32 [2].
      scale: range of the random factors. The paper's 'per-point scaling' is understood as one
        factor per point, shared by its coordinates: it moves the point along the ray from the
        centre of the cloud.
      translation: maximum movement of a coordinate, before normalisation.
      rotation: 'none', 'up' (by a random angle about `up_axis`) or 'any' (uniform in 3-D).
      up_axis: axis that points up: 'x', 'y' or 'z'.

    Returns:
      Augmented points, float32 [M, 3].
    """
    rotation_seed, scale_seed, translation_seed = tf.unstack(tf.random.split(seed, 3))
    if rotation == "up":
        points = tf.matmul(points, _rotation_about(AXES.index(up_axis), rotation_seed))
    elif rotation == "any":
        points = tf.matmul(points, _uniform_rotation(rotation_seed))
    low, high = scale
    points *= tf.random.stateless_uniform([points.shape[0], 1], scale_seed, low, high)
    return points + tf.random.stateless_uniform(
        points.shape, translation_seed, -translation, translation
    )


def drop(points: tf.Tensor, seed: tf.Tensor, most: float) -> tf.Tensor:
    """Drops a random fraction of the points, as PointNet++ does in training.

    Shapes are fixed, so a dropped point becomes a copy of the first point, which is a random one
    since the points are in random order. Points are dropped after normalisation, because the
    copies would bias the mean; the result may then be smaller than the unit cube.

    Args:
      points: normalised points, float32 [M, 3].
      seed: seed of the choice, int32 [2].
      most: upper end of the uniform distribution of the fraction; its lower end is 0.

    Returns:
      Points, float32 [M, 3].
    """
    if not most:
        return points
    fraction_seed, points_seed = tf.unstack(tf.random.split(seed, 2))
    fraction = tf.random.stateless_uniform([], fraction_seed, 0.0, most)
    dropped = tf.random.stateless_uniform([points.shape[0], 1], points_seed) < fraction
    return tf.where(dropped, points[:1], points)


def _rotation_about(axis: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns the matrix [3, 3] of a rotation about an axis by a uniformly random angle."""
    angle = tf.random.stateless_uniform([], seed, 0.0, 2 * math.pi)
    cos, sin = tf.cos(angle), tf.sin(angle)
    first, second = [other for other in range(3) if other != axis]
    entries = {(axis, axis): 1.0, (first, first): cos, (second, second): cos}
    entries |= {(first, second): -sin, (second, first): sin}
    return tf.stack([[entries.get((row, column), 0.0) for column in range(3)] for row in range(3)])


def _uniform_rotation(seed: tf.Tensor) -> tf.Tensor:
    """Returns the matrix [3, 3] of a uniformly random rotation (Shoemake, 1992)."""
    w, x, y, z = tf.unstack(tf.linalg.l2_normalize(tf.random.stateless_normal([4], seed)))
    return tf.stack(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
