"""What is done to a point cloud before the network sees it (Sec. 4.3).

The paper zero-centres a cloud, in training scales each point by a random factor, and then
normalises to zero mean and the unit cube. Translation of points and rotation of the cloud, which
the paper tried without a gain, are here as well.
"""

import math

from perceiver.data.tensorflow_cpu import tf

ROTATIONS = ("none", "up", "any")
AXES = ("x", "y", "z")


def choose(points: tf.Tensor, num_points: int, seed: tf.Tensor | None) -> tf.Tensor:
    """num_points of the M points, without replacement: at random, or the first of them.

    A cloud that has just num_points is left as it is: their order means nothing to the network.
    """
    if seed is not None and points.shape[0] > num_points:
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
