"""Decodes, crops, resizes and augments the frames of a window (Sec. 4.2).

The crop, the flip and the colour changes are drawn once per clip and applied to all of its frames,
so that motion is preserved.
"""

from collections.abc import Callable

from perceiver.data.images import pictures
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Frames decoded at once. Other examples are read at the same time, so a few are enough.
_PARALLEL = 4

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def read_frames(
    frames: tf.Tensor,
    numbers: tf.Tensor,
    window: Callable[[tf.Tensor], tf.Tensor],
    image_size: int,
) -> tf.Tensor:
    """Decodes the requested frames, each once, without decoding other frames of the clip.

    Args:
      frames: string [F], JPEG files of one size.
      numbers: int32 [...], numbers of the requested frames, in [0, F); they may repeat.
      window: function from the shape of the frames to the crop for all of them: top, left, height
        and width; see `pictures.random_window`.
      image_size: S, side of the resized frames; the resize is bicubic with antialiasing.

    Returns:
      uint8 [..., S, S, 3].
    """
    unique, positions = tf.unique(tf.reshape(numbers, [-1]))
    crop = window(tf.io.extract_jpeg_shape(frames[0]))
    # An antialiased bicubic resize to the same size returns its argument, so it is skipped.
    has_size = tf.reduce_all(crop[2:] == image_size)

    def read(number: tf.Tensor) -> tf.Tensor:
        picture = tf.io.decode_and_crop_jpeg(
            frames[number], crop, channels=3, dct_method="INTEGER_ACCURATE"
        )
        resized = tf.cond(
            has_size, lambda: picture, lambda: pictures.resize(picture, image_size, 3)
        )
        return tf.ensure_shape(resized, [image_size, image_size, 3])

    shape = [image_size, image_size, 3]
    spec = tf.TensorSpec(shape, tf.uint8)
    decoded = tf.map_fn(read, unique, fn_output_signature=spec, parallel_iterations=_PARALLEL)
    return tf.reshape(tf.gather(decoded, positions), [*numbers.shape, *shape])


def random_flip(clip: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors a clip [T, S, S, 3] left to right with probability 1/2; seed is int32 [2]."""
    mirrored = tf.random.stateless_uniform([], seed) < 0.5
    return tf.cond(mirrored, lambda: tf.reverse(clip, [2]), lambda: clip)


def random_colour(
    clip: tf.Tensor,
    seed: tf.Tensor,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue, each by one random amount per clip.

    Args:
      clip: uint8 [T, S, S, 3].
      seed: int32 [2].
      brightness: strength; the factor is uniform from 1 - brightness to 1 + brightness.
      contrast: strength; the factor is uniform from 1 - contrast to 1 + contrast.
      saturation: strength; the factor is uniform from 1 - saturation to 1 + saturation.
      hue: largest shift; the shift is uniform from -hue to hue, where 1 is the whole circle.

    Returns:
      uint8 [T, S, S, 3].
    """
    seeds = tf.unstack(tf.random.split(seed, 4))
    brightness_factor, contrast_factor, saturation_factor = (
        tf.random.stateless_uniform([], factor_seed, 1 - strength, 1 + strength)
        for factor_seed, strength in zip(seeds, (brightness, contrast, saturation), strict=False)
    )
    shift = tf.random.stateless_uniform([], seeds[3], -hue, hue) if hue else None
    return adjust_colour(clip, brightness_factor, contrast_factor, saturation_factor, shift)


def adjust_colour(
    clip: tf.Tensor,
    brightness: tf.Tensor,
    contrast: tf.Tensor,
    saturation: tf.Tensor,
    hue: tf.Tensor | None,
) -> tf.Tensor:
    """Scales brightness, contrast and saturation, then shifts the hue.

    Brightness is scaled from black, contrast from the mean luma of the whole clip, and saturation
    from the luma of each pixel, as in Pillow's ImageEnhance. Values are clipped once after these
    three operations, so that a clip made brighter and then paler keeps its highlights. The hue is
    shifted in HSV, and values are rounded at the end.

    Args:
      clip: uint8 [T, S, S, 3].
      brightness: factor of the brightness, float32 [].
      contrast: factor of the contrast, float32 [].
      saturation: factor of the saturation, float32 [].
      hue: shift of the hue from -1 to 1, float32 [], or None for no shift.

    Returns:
      uint8 [T, S, S, 3].
    """
    values = tf.cast(clip, tf.float32)
    mean = tf.tensordot(tf.reduce_mean(values, axis=[0, 1, 2]), tf.constant(_LUMA), 1)
    # The three operations are linear, so together they are one matrix and one offset.
    luma = tf.tile([_LUMA], [3, 1])
    mixing = brightness * contrast * (saturation * tf.eye(3) + (1 - saturation) * luma)
    offset = (1 - contrast) * brightness * mean
    values = tf.reshape(values, [-1, 3]) @ tf.transpose(mixing) + offset
    values = tf.reshape(tf.clip_by_value(values, 0.0, 255.0), clip.shape)
    if hue is not None:
        values = tf.image.adjust_hue(values / 255.0, hue) * 255.0
    return tf.cast(tf.round(values), tf.uint8)


def check(
    *,
    image_size: int,
    crop_area: tuple[float, float],
    crop_aspect: tuple[float, float],
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> None:
    """Raises an InputError if an option is invalid."""
    pictures.check_crop(image_size, crop_area, crop_aspect)
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, strength in strengths.items():
        if not 0 <= strength <= 1:
            raise InputError(f"{name} is {strength}: give 0 for none, up to 1")
    if not 0 <= hue <= 0.5:
        raise InputError(f"hue is {hue}: give 0 for none, up to 0.5, half the circle")
