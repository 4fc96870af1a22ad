"""The operations of RandAugment on a picture, to the bit as Pillow computes them.

Each takes and gives uint8 [h, w, 3] of any size. Pillow is what AutoAugment and RandAugment were
found with; the names are those of its functions. As there, geometric operations take the nearest
pixel, a shear holds the picture's upper left corner and a rotation its centre.

A blend is one multiplication and one addition in float32. A processor that fuses the two, in Pillow
or here, moves a few values by one level.
"""

import math

from perceiver.data.tensorflow_cpu import tf

Number = tf.Tensor | float

# Pillow's grey, in 65536ths. Sums of them times 255 are below 2**24, so exact in float32.
_LUMA = (19595.0, 38470.0, 7471.0)
_FIXED_POINT = 16
_MIDDLE = 128


def autocontrast(picture: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0 to 255; a channel of one value stays."""
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
    of_brightest = tf.gather(count, brightest, axis=1, batch_dims=1)
    step = ((tf.reduce_sum(count, axis=1) - of_brightest) // 255)[:, tf.newaxis]
    below = tf.cumsum(count, axis=1, exclusive=True)
    equal = tf.minimum((step // 2 + below) // tf.maximum(step, 1), 255)
    return _look_up(picture, tf.where(step > 0, equal, levels))


def invert(picture: tf.Tensor) -> tf.Tensor:
    """255 less each value."""
    return tf.bitwise.invert(picture)


def posterize(picture: tf.Tensor, bits: int) -> tf.Tensor:
    """Keeps the upper `bits`, 1 to 8, of each value."""
    return tf.bitwise.bitwise_and(picture, tf.constant(256 - 2 ** (8 - bits), tf.uint8))


def solarize(picture: tf.Tensor, threshold: int) -> tf.Tensor:
    """Inverts the values at or above the threshold."""
    if threshold > 255:
        return picture
    return tf.where(picture < tf.constant(threshold, tf.uint8), picture, invert(picture))


def solarize_add(picture: tf.Tensor, addition: int) -> tf.Tensor:
    """Adds to the values below 128, up to 255. Pillow has no such function."""
    dark = picture < tf.constant(_MIDDLE, tf.uint8)
    addition = tf.constant(min(addition, 255), tf.uint8)
    # Of the dark values, those that the sum would carry beyond 255 become 255.
    added = tf.minimum(picture, 255 - addition) + addition
    return tf.where(dark, added, picture)


def color(picture: tf.Tensor, factor: float) -> tf.Tensor:
    """Blends with its grey version: 0 is grey, 1 the picture, more is more colourful."""
    pixels = tf.reshape(tf.cast(picture, tf.float32), [-1, 3])
    grey = _grey(pixels, channels=3)
    return tf.reshape(_blend(grey, pixels, factor), tf.shape(picture))


def contrast(picture: tf.Tensor, factor: float) -> tf.Tensor:
    """Blends with its mean grey level: 0 is flat, 1 the picture, more has more contrast."""
    values = tf.cast(picture, tf.float32)
    # A sum over a picture is beyond what float32 counts exactly.
    grey = tf.cast(_grey(tf.reshape(values, [-1, 3]), channels=1), tf.float64)
    mean = tf.cast(tf.floor(tf.reduce_mean(grey) + 0.5), tf.float32)
    return _blend(mean, values, factor)


def brightness(picture: tf.Tensor, factor: float) -> tf.Tensor:
    """Blends with black: 0 is black, 1 the picture, more is brighter."""
    return _blend(tf.constant(0.0), tf.cast(picture, tf.float32), factor)


def sharpness(picture: tf.Tensor, factor: float) -> tf.Tensor:
    """Blends with a smoothed version: 0 is smooth, 1 the picture, more is sharper.

    The smoothed version is the mean over 3 x 3 pixels with the middle one counted five times; the
    outermost rows and columns stay.
    """
    values = tf.cast(picture, tf.float32)
    rows = values[:-2] + values[1:-1] + values[2:]
    boxes = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    inner = values[1:-1, 1:-1]
    # Whole numbers over 13 are never near half a level, so this rounds as Pillow does.
    smooth = tf.round((boxes + 4.0 * inner) / 13.0)
    height, width = tf.unstack(tf.shape(picture)[:2])
    # One row or column on either side, or what there is of a picture of less than three.
    borders = [
        [1, tf.minimum(height, 2) - 1],
        [1, tf.minimum(width, 2) - 1],
        [0, 0],
    ]
    return _blend(values + tf.pad(smooth - inner, borders), values, factor)


def rotate(picture: tf.Tensor, degrees: Number, fill: int) -> tf.Tensor:
    """Turns the picture about its centre, counter-clockwise."""
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
    """Fills the square from `half_side` before a pixel to as far behind it (DeVries and Taylor).

    Args:
      picture: uint8 [h, w, 3].
      row: of the pixel, int32; the part of the square that is outside the picture is lost.
      column: of the pixel, int32.
      half_side: in pixels.
      fill: grey level.
    """
    height, width = tf.unstack(tf.shape(picture)[:2])
    rows, columns = tf.range(height) - row, tf.range(width) - column
    rows = (rows >= -half_side) & (rows < half_side)
    columns = (columns >= -half_side) & (columns < half_side)
    inside = rows[:, tf.newaxis, tf.newaxis] & columns[tf.newaxis, :, tf.newaxis]
    return tf.where(inside, tf.constant(fill, tf.uint8), picture)


def _look_up(picture: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Replaces values by their entries in a table [3, 256], a row for each channel."""
    table = tf.reshape(tf.cast(table, tf.uint8), [-1])
    return tf.gather(table, tf.cast(picture, tf.int32) + tf.constant([0, 256, 512]))


def _grey(pixels: tf.Tensor, channels: int) -> tf.Tensor:
    """Pillow's grey levels of float32 [n, 3], the same in each of `channels`."""
    weights = tf.constant([[weight] * channels for weight in _LUMA])
    return tf.floor((tf.matmul(pixels, weights) + 32768.0) / 65536.0)


def _blend(degenerate: tf.Tensor, values: tf.Tensor, factor: float) -> tf.Tensor:
    blended = degenerate + factor * (values - degenerate)
    return tf.cast(tf.clip_by_value(blended, 0.0, 255.0), tf.uint8)  # cut off, not rounded


def _affine(
    picture: tf.Tensor,
    for_x: tuple[Number, Number, Number],
    for_y: tuple[Number, Number, Number],
    fill: int,
) -> tf.Tensor:
    """Takes each pixel from a x + b y + c, with `for_x` for its column and `for_y` for its row.

    Positions are those of pixel centres, and are kept in steps of 2^-16 as in Pillow. This is as
    fast as `ImageProjectiveTransformV3`, which places and rounds positions otherwise.
    """
    height, width = tf.unstack(tf.shape(picture, tf.int64)[:2])
    rows, columns = tf.range(height)[:, tf.newaxis], tf.range(width)[tf.newaxis, :]

    def source(a: Number, b: Number, c: Number) -> tf.Tensor:  # [h, w]
        a, b, c = (tf.cast(number, tf.float64) for number in (a, b, c))
        a_fixed, b_fixed, c_fixed = (
            tf.cast(tf.floor(number * 2**_FIXED_POINT + 0.5), tf.int64)
            for number in (a, b, c + a * 0.5 + b * 0.5)
        )
        whole = tf.constant(_FIXED_POINT, tf.int64)
        return tf.bitwise.right_shift(columns * a_fixed + (rows * b_fixed + c_fixed), whole)

    x, y = source(*for_x), source(*for_y)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    place = tf.where(inside, y * width + x, height * width)
    outside = tf.fill([1, 3], tf.constant(fill, tf.uint8))
    return tf.gather(tf.concat([tf.reshape(picture, [-1, 3]), outside], axis=0), place)
