"""The frames of a window: decoded, cropped, resized, and augmented all in the same way (Sec. 4.2).

What is random is drawn once for a clip, so that its frames keep moving as they did: the crop, the
flip, and the changes of colour.
"""

from collections.abc import Callable

from perceiver.data.images import pictures
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Frames decoded at once. Other examples are read beside this one, so a few are enough.
_PARALLEL = 4

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def read_frames(
    frames: tf.Tensor,
    numbers: tf.Tensor,
    window: Callable[[tf.Tensor], tf.Tensor],
    image_size: int,
) -> tf.Tensor:
    """Decodes the frames that are asked for, each once, and nothing else of the clip.

    Args:
      frames: string [F], JPEG files of one size.
      numbers: int32 [...], the frames wanted, in [0, F); one may be wanted several times.
      window: the crop of all frames, given their shape: top, left, height and width; see
        `pictures.random_window`.
      image_size: S, the side after resizing, bicubic with antialiasing.

    Returns:
      uint8 [..., S, S, 3].
    """
    wanted, places = tf.unique(tf.reshape(numbers, [-1]))
    crop = window(tf.io.extract_jpeg_shape(frames[0]))
    # An antialiased bicubic resize to the same size returns its argument: spare the arithmetic.
    as_it_is = tf.reduce_all(crop[2:] == image_size)

    def read(number: tf.Tensor) -> tf.Tensor:
        picture = tf.io.decode_and_crop_jpeg(
            frames[number], crop, channels=3, dct_method="INTEGER_ACCURATE"
        )
        resized = tf.cond(
            as_it_is, lambda: picture, lambda: pictures.resize(picture, image_size, 3)
        )
        return tf.ensure_shape(resized, [image_size, image_size, 3])

    shape = [image_size, image_size, 3]
    spec = tf.TensorSpec(shape, tf.uint8)
    found = tf.map_fn(read, wanted, fn_output_signature=spec, parallel_iterations=_PARALLEL)
    return tf.reshape(tf.gather(found, places), [*numbers.shape, *shape])


def random_flip(clip: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors half of the clips left to right; clip is [T, S, S, 3], seed int32 [2]."""
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
    """Changes brightness, contrast, saturation and hue, each by its own draw for the clip.

    Args:
      clip: uint8 [T, S, S, 3].
      seed: int32 [2].
      brightness: the factor is uniform within 1 - brightness and 1 + brightness.
      contrast: likewise.
      saturation: likewise.
      hue: the shift is uniform within -hue and hue, where 1 is the whole circle.

    Returns:
      uint8 [T, S, S, 3].
    """
    seeds = tf.unstack(tf.random.split(seed, 4))
    factors = [
        tf.random.stateless_uniform([], of_one, 1 - strength, 1 + strength)
        for of_one, strength in zip(seeds, (brightness, contrast, saturation), strict=False)
    ]
    shift = tf.random.stateless_uniform([], seeds[3], -hue, hue) if hue else None
    return adjust_colour(clip, *factors, shift)


def adjust_colour(
    clip: tf.Tensor,
    brightness: tf.Tensor,
    contrast: tf.Tensor,
    saturation: tf.Tensor,
    hue: tf.Tensor | None,
) -> tf.Tensor:
    """Scales brightness, contrast and saturation, then turns the hue.

    Brightness scales from black, contrast from the mean luma of the whole clip, saturation from
    each pixel's luma, as in Pillow's ImageEnhance. Values are rounded and clipped once, after the
    three, so that a clip made brighter and then paler keeps its highlights. The hue turns in HSV.

    Args:
      clip: uint8 [T, S, S, 3].
      brightness: a factor, float32 [].
      contrast: likewise.
      saturation: likewise.
      hue: within -1 and 1, float32 [], or None to leave it.

    Returns:
      uint8 [T, S, S, 3].
    """
    values = tf.cast(clip, tf.float32)
    mean = tf.tensordot(tf.reduce_mean(values, axis=[0, 1, 2]), tf.constant(_LUMA), 1)
    # All three are linear, so together they are one matrix and one offset.
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
    """Raises an InputError for options that cannot be."""
    pictures.check_crop(image_size, crop_area, crop_aspect)
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, strength in strengths.items():
        if not 0 <= strength <= 1:
            raise InputError(f"{name} is {strength}: give 0 for none, up to 1")
    if not 0 <= hue <= 0.5:
        raise InputError(f"hue is {hue}: give 0 for none, up to 0.5, all the way round")
