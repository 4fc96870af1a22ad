"""What is done to a point cloud before the network sees it (Sec. 4.3).

The paper zero-centres a cloud, in training scales each point by a random factor, and then
normalises to zero mean and the unit cube. Translation of points and rotation of the cloud, which
the paper tried without a gain, are here as well, and leaving out points, which others do.
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
    """What is done to each cloud.

    It is zero-centred; in training num_points are drawn without replacement and augmented, in
    evaluation the first num_points are taken; then it is normalised to zero mean and the unit
    cube. Last, in training, points are dropped.

    Attributes:
      num_points: M, points of a cloud that comes out.
      scale: range of the random factor of each point; the paper's is (0.99, 1.01).
      translation: largest random movement of a point along each axis, where the cloud's largest
        absolute coordinate is 1; 0 for none.
      rotation: 'none', 'up' (about the up axis) or 'any'.
      up_axis: the axis that points up, for rotation 'up': 'x', 'y' or 'z'.
      dropout: largest share of the points that are dropped, see `drop`.

    Raises:
      InputError: a value that cannot be.
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
            raise InputError(f"dropout is {self.dropout}: give a share from 0 to below 1")

    def __call__(self, points: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """Points float32 [P, 3] to [M, 3]; without a seed as in evaluation."""
        if seed is None:
            # Twice, as in training. The points that are not chosen have no say, so that a file
            # gives the same however many are kept of it.
            return normalise(normalise(choose(points, self.num_points, None)))
        # The paper zero-centres here; the unit cube as well makes `translation` mean the same for
        # clouds in metres and in millimetres, and is undone by nothing that follows.
        points = normalise(points)
        for_choice, for_rest, for_dropout = tf.unstack(tf.random.split(seed, 3))
        points = choose(points, self.num_points, for_choice)
        points = augment(
            points,
            for_rest,
            scale=self.scale,
            translation=self.translation,
            rotation=self.rotation,
            up_axis=self.up_axis,
        )
        return drop(normalise(points), for_dropout, self.dropout)


def source(
    points: np.ndarray, labels: np.ndarray, recipe: CloudRecipe, name: Callable[[int], str]
) -> Source:
    """A split whose clouds are all in memory.

    Args:
      points: float32 [n, P, 3].
      labels: int32 [n].
      recipe: what is done to each cloud.
      name: of a cloud by number, for messages.

    Returns:
      'points', float32 [M, 3] within [-1, 1], and 'label', int32 [].
    """
    # tf.data functions take large constants by reference, so there is one copy in memory.
    all_points, all_labels = tf.constant(points), tf.constant(labels)

    def example(index: tf.Tensor, seed: tf.Tensor | None) -> dict[str, tf.Tensor]:
        return {
            "points": recipe(tf.gather(all_points, index), seed),
            "label": tf.gather(all_labels, index),
        }

    return Source(len(labels), example, name)


def choose(points: tf.Tensor, num_points: int, seed: tf.Tensor | None) -> tf.Tensor:
    """num_points of the M points, without replacement: at random, or the first of them.

    In training their order is random too, for networks that lay them on a grid.
    """
    if seed is not None:
        order = tf.random.experimental.stateless_shuffle(tf.range(points.shape[0]), seed)
        return tf.gather(points, order[:num_points])
    return points[:num_points]


def zero_centre(points: tf.Tensor) -> tf.Tensor:
    """Moves the mean of the points [M, 3] to the origin."""
    return points - tf.reduce_mean(points, axis=0)


def normalise(points: tf.Tensor) -> tf.Tensor:
    """Zero mean and unit cube: the largest absolute coordinate becomes 1, proportions stay.

    Points [M, 3] that all coincide stay at the origin.
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
    """Rotates a zero-centred cloud as a whole, then scales and translates each point by itself.

    Args:
      points: float32 [M, 3].
      seed: int32 [2].
      scale: range of the factors. 'Per-point scaling' is taken to mean one factor for a point,
        which moves it along the ray from the cloud's centre; the three coordinates share it.
      translation: each coordinate of each point moves by up to this much, before normalisation.
      rotation: 'none', 'up' (by a random angle about `up_axis`) or 'any' (uniform in 3-D).
      up_axis: 'x', 'y' or 'z'.

    Returns:
      float32 [M, 3].
    """
    for_rotation, for_scale, for_translation = tf.unstack(tf.random.split(seed, 3))
    if rotation == "up":
        points = tf.matmul(points, _about_axis(for_rotation, AXES.index(up_axis)))
    elif rotation == "any":
        points = tf.matmul(points, _uniform_rotation(for_rotation))
    low, high = scale
    points *= tf.random.stateless_uniform([points.shape[0], 1], for_scale, low, high)
    return points + tf.random.stateless_uniform(
        points.shape, for_translation, -translation, translation
    )


def drop(points: tf.Tensor, seed: tf.Tensor, most: float) -> tf.Tensor:
    """Drops a random share of the points, up to `most`, as PointNet++ does in training.

    Shapes are fixed, so a dropped point becomes a copy of the first, which stays. The order of a
    cloud's points is random, so the first is any. This comes after normalisation, whose mean the
    copies would pull towards them; the cloud may then fall short of the unit cube.

    Args:
      points: float32 [M, 3].
      seed: int32 [2].
      most: the share is uniform from 0 to this.

    Returns:
      float32 [M, 3].
    """
    if not most:
        return points
    for_share, for_points = tf.unstack(tf.random.split(seed, 2))
    share = tf.random.stateless_uniform([], for_share, 0.0, most)
    dropped = tf.random.stateless_uniform([points.shape[0], 1], for_points) < share
    return tf.where(dropped, points[:1], points)


def _about_axis(seed: tf.Tensor, axis: int) -> tf.Tensor:
    """Matrix [3, 3] of a rotation by a uniform angle that leaves coordinate `axis` alone."""
    angle = tf.random.stateless_uniform([], seed, 0.0, 2 * math.pi)
    cos, sin = tf.cos(angle), tf.sin(angle)
    first, second = [other for other in range(3) if other != axis]
    entries = {(axis, axis): 1.0, (first, first): cos, (second, second): cos}
    entries |= {(first, second): -sin, (second, first): sin}
    return tf.stack([[entries.get((row, column), 0.0) for column in range(3)] for row in range(3)])


def _uniform_rotation(seed: tf.Tensor) -> tf.Tensor:
    """Matrix [3, 3] of a rotation drawn uniformly: a random unit quaternion (Shoemake, 1992)."""
    w, x, y, z = tf.unstack(tf.linalg.l2_normalize(tf.random.stateless_normal([4], seed)))
    return tf.stack(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
