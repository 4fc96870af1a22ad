"""The operations of RandAugment, bit for bit as Pillow computes them.

Each operation maps a picture uint8 [h, w, 3] of any size to one of the same shape. AutoAugment and
RandAugment were developed with Pillow; the names are those of its functions. As in Pillow,
geometric operations take the nearest pixel, a shear leaves the upper left corner in place, and a
rotation the centre.

A blend is one multiplication and one addition in float32. If a processor fuses the two, in Pillow
or here, a few values differ by one level.
"""

import math
from typing import TypeAlias

from perceiver.data.tensorflow_cpu import tf

Number: TypeAlias = tf.Tensor | float

# Pillow's weights for grey, in units of 2**-16. A weighted sum is at most 65536 * 255 < 2**24, so
# float32 holds it exactly.
_LUMA = (19595.0, 38470.0, 7471.0)
_FRACTION_BITS = 16  # of Pillow's fixed-point positions
_MIDDLE = 128


def autocontrast(picture: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to the range 0 to 255; leaves a constant channel unchanged."""
    least = tf.cast(tf.reduce_min(picture, axis=[0, 1]), tf.float64)[:, tf.newaxis]  # [3, 1]
    most = tf.cast(tf.reduce_max(picture, axis=[0, 1]), tf.float64)[:, tf.newaxis]
    levels = tf.range(256, dtype=tf.float64)
    scale = 255.0 / tf.maximum(most - least, 1.0)
    stretched = tf.clip_by_value(levels * scale - least * scale, 0.0, 255.0)
    return _look_up(picture, tf.where(most > least, stretched, levels))


def equalize(picture: tf.Tensor) -> tf.Tensor:
    """Makes the levels of each channel equally frequent."""
    by_channel = tf.transpose(tf.reshape(tf.cast(picture, tf.int32), [-1, 3]))  # [3, h * w]
    count = tf.math.bincount(by_channel, minlength=256, maxlength=256, axis=-1)  # [3, 256]
    levels = tf.range(256)
    brightest = tf.reduce_max(tf.where(count > 0, levels, 0), axis=1)
    brightest_count = tf.gather(count, brightest, axis=1, batch_dims=1)
    step = ((tf.reduce_sum(count, axis=1) - brightest_count) // 255)[:, tf.newaxis]
    below = tf.cumsum(count, axis=1, exclusive=True)
    equal = tf.minimum((step // 2 + below) // tf.maximum(step, 1), 255)
    return _look_up(picture, tf.where(step > 0, equal, levels))


def invert(picture: tf.Tensor) -> tf.Tensor:
    """Returns 255 minus each value."""
    return tf.bitwise.invert(picture)


def posterize(picture: tf.Tensor, bits: int) -> tf.Tensor:
    """Clears all but the upper `bits` bits, 1 to 8, of each value."""
    return tf.bitwise.bitwise_and(picture, tf.constant(256 - 2 ** (8 - bits), tf.uint8))


def solarize(picture: tf.Tensor, threshold: int) -> tf.Tensor:
    """Inverts the values at or above the threshold."""
    if threshold > 255:
        return picture
    return tf.where(picture < tf.constant(threshold, tf.uint8), picture, invert(picture))


def solarize_add(picture: tf.Tensor, addition: int) -> tf.Tensor:
    """Adds to the values below 128 and clips to 255; Pillow has no such function."""
    dark = picture < tf.constant(_MIDDLE, tf.uint8)
    addition = tf.constant(min(addition, 255), tf.uint8)
    # Clipped before the addition, which would overflow uint8.
    added = tf.minimum(picture, 255 - addition) + addition
    return tf.where(dark, added, picture)


def color(picture: tf.Tensor, factor: float) -> tf.Tensor:
    """Blends with the grey picture: factor 0 is grey, 1 the picture, above 1 more colourful."""
    pixels = tf.reshape(tf.cast(picture, tf.float32), [-1, 3])
    grey = _grey(pixels, channels=3)
    return tf.reshape(_blend(grey, pixels, factor), tf.shape(picture))


def contrast(picture: tf.Tensor, factor: float) -> tf.Tensor:
    """Blends with the mean grey level: factor 0 is flat, 1 the picture, above 1 more contrast."""
    values = tf.cast(picture, tf.float32)
    # float32 cannot hold the sum over a picture exactly.
    grey = tf.cast(_grey(tf.reshape(values, [-1, 3]), channels=1), tf.float64)
    mean = tf.cast(tf.floor(tf.reduce_mean(grey) + 0.5), tf.float32)
    return _blend(mean, values, factor)


def brightness(picture: tf.Tensor, factor: float) -> tf.Tensor:
    """Blends with black: factor 0 is black, 1 the picture, above 1 brighter."""
    return _blend(tf.constant(0.0), tf.cast(picture, tf.float32), factor)


def sharpness(picture: tf.Tensor, factor: float) -> tf.Tensor:
    """Blends with a smoothed picture: factor 0 is smooth, 1 the picture, above 1 sharper.

    The smoothed picture is the mean over 3 x 3 pixels with a weight of 5 for the middle one, except
    in the outermost rows and columns, which are not smoothed.
    """
    values = tf.cast(picture, tf.float32)
    rows = values[:-2] + values[1:-1] + values[2:]
    boxes = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    inner = values[1:-1, 1:-1]
    # Multiples of 1 / 13 are never close to half a level, so rounding agrees with Pillow.
    smooth = tf.round((boxes + 4.0 * inner) / 13.0)
    height, width = tf.unstack(tf.shape(picture)[:2])
    # One row or column on each side, or fewer for a picture of less than three.
    borders = [
        [1, tf.minimum(height, 2) - 1],
        [1, tf.minimum(width, 2) - 1],
        [0, 0],
    ]
    return _blend(values + tf.pad(smooth - inner, borders), values, factor)


def rotate(picture: tf.Tensor, degrees: Number, fill: int) -> tf.Tensor:
    """Rotates the picture counter-clockwise about its centre."""
    radians = -tf.cast(degrees, tf.float64) * (math.pi / 180)
    cos, sin = tf.cos(radians), tf.sin(radians)
    size = tf.cast(tf.shape(picture)[:2], tf.float64)
    y, x = size[0] / 2, size[1] / 2
    return _affine(
        picture,
        (cos, sin, x - cos * x - sin * y),
        (-sin, cos, y + sin * x - cos * y),
        fill,
    )


def shear_x(picture: tf.Tensor, share: Number, fill: int) -> tf.Tensor:
    """Moves each row to the left by `share` of its distance from the top."""
    return _affine(picture, (1.0, share, 0.0), (0.0, 1.0, 0.0), fill)


def shear_y(picture: tf.Tensor, share: Number, fill: int) -> tf.Tensor:
    """Moves each column up by `share` of its distance from the left."""
    return _affine(picture, (1.0, 0.0, 0.0), (share, 1.0, 0.0), fill)


def translate_x(picture: tf.Tensor, pixels: Number, fill: int) -> tf.Tensor:
    """Moves the picture to the left."""
    return _affine(picture, (1.0, 0.0, pixels), (0.0, 1.0, 0.0), fill)


def translate_y(picture: tf.Tensor, pixels: Number, fill: int) -> tf.Tensor:
    """Moves the picture up."""
    return _affine(picture, (1.0, 0.0, 0.0), (0.0, 1.0, pixels), fill)


def cutout(
    picture: tf.Tensor, row: tf.Tensor, column: tf.Tensor, half_side: int, fill: int
) -> tf.Tensor:
    """Fills a square with grey (DeVries and Taylor, 2017), clipped to the picture.

    Args:
      picture: picture, uint8 [h, w, 3].
      row: row of the centre, int32.
      column: column of the centre, int32.
      half_side: half the side of the square, in pixels.
      fill: grey level.
    """
    height, width = tf.unstack(tf.shape(picture)[:2])
    rows, columns = tf.range(height) - row, tf.range(width) - column
    rows = (rows >= -half_side) & (rows < half_side)
    columns = (columns >= -half_side) & (columns < half_side)
    inside = rows[:, tf.newaxis, tf.newaxis] & columns[tf.newaxis, :, tf.newaxis]
    return tf.where(inside, tf.constant(fill, tf.uint8), picture)


def _look_up(picture: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Maps each value through a table [3, 256] with one row per channel."""
    table = tf.reshape(tf.cast(table, tf.uint8), [-1])
    return tf.gather(table, tf.cast(picture, tf.int32) + tf.constant([0, 256, 512]))


def _grey(pixels: tf.Tensor, channels: int) -> tf.Tensor:
    """Returns Pillow's grey levels of pixels float32 [n, 3], repeated in `channels` channels."""
    weights = tf.constant([[weight] * channels for weight in _LUMA])
    return tf.floor((tf.matmul(pixels, weights) + 32768.0) / 65536.0)


def _blend(degenerate: tf.Tensor, values: tf.Tensor, factor: float) -> tf.Tensor:
    blended = degenerate + factor * (values - degenerate)
    return tf.cast(tf.clip_by_value(blended, 0.0, 255.0), tf.uint8)  # truncated, not rounded


def _affine(
    picture: tf.Tensor,
    x_coefficients: tuple[Number, Number, Number],
    y_coefficients: tuple[Number, Number, Number],
    fill: int,
) -> tf.Tensor:
    """Transforms a picture: the source of pixel (x, y) has the coordinates a x + b y + c.

    The coordinates are those of pixel centres, rounded to multiples of 2^-16 as in Pillow. This is
    as fast as `ImageProjectiveTransformV3`, which rounds differently.

    Args:
      picture: picture, uint8 [h, w, 3].
      x_coefficients: a, b and c of the source column.
      y_coefficients: a, b and c of the source row.
      fill: grey level of pixels whose source is outside the picture.
    """
    height, width = tf.unstack(tf.shape(picture, tf.int64)[:2])
    rows, columns = tf.range(height)[:, tf.newaxis], tf.range(width)[tf.newaxis, :]

    def source(a: Number, b: Number, c: Number) -> tf.Tensor:  # [h, w]
        a, b, c = (tf.cast(number, tf.float64) for number in (a, b, c))
        a_fixed, b_fixed, c_fixed = (
            tf.cast(tf.floor(number * 2**_FRACTION_BITS + 0.5), tf.int64)
            for number in (a, b, c + a * 0.5 + b * 0.5)
        )
        bits = tf.constant(_FRACTION_BITS, tf.int64)
        return tf.bitwise.right_shift(columns * a_fixed + (rows * b_fixed + c_fixed), bits)

    x, y = source(*x_coefficients), source(*y_coefficients)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = tf.where(inside, y * width + x, height * width)
    outside = tf.fill([1, 3], tf.constant(fill, tf.uint8))
    return tf.gather(tf.concat([tf.reshape(picture, [-1, 3]), outside], axis=0), index)
