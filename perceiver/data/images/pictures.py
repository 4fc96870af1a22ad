"""Decodes, crops and resizes pictures.

Training takes Inception-style crops (Szegedy et al., 2015), as in Sec. 4.1 of the paper; evaluation
takes the usual central crop. The first bytes of a file determine its format, not its name. The EXIF
orientation is not applied.
"""

from collections.abc import Callable

from perceiver.data.class_folders import FileKind
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Side of the evaluation crop as a fraction of the short side: 224 of 256 pixels.
CENTRAL_CROP = 0.875

_JPEG_MAGIC = b"\xff\xd8"
_PNG_MAGIC = b"\x89PNG"

_ATTEMPTS = 10
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def _check_magic(path: str, beginning: bytes) -> None:
    if not beginning.startswith((_JPEG_MAGIC, _PNG_MAGIC)):
        raise InputError(
            f"{path}: neither JPEG nor PNG (it begins with {beginning[:4]!r}): convert or remove it"
        )


PICTURES = FileKind("pictures", (".jpg", ".jpeg", ".png"), _check_magic)


def check_crop(image_size: int, area: tuple[float, float], aspect: tuple[float, float]) -> None:
    """Checks the size of pictures and the ranges of crops; see `random_window`.

    Raises:
      InputError: an option is out of range.
    """
    if image_size < 1:
        raise InputError(f"image_size is {image_size}: give a number of pixels")
    if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
        raise InputError(f"crop_area is {area}: give a range within (0, 1], such as (0.08, 1)")
    if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1] < float("inf"):
        raise InputError(f"crop_aspect is {aspect}: give a range such as (0.75, 1.333)")


def random_window(
    shape: tf.Tensor, seed: tf.Tensor, area: tuple[float, float], aspect: tuple[float, float]
) -> tf.Tensor:
    """Draws an Inception-style crop.

    The object is the whole picture and need not be covered, so `area` alone limits the size. After
    10 attempts without a valid crop the result is the whole picture.

    Args:
      shape: shape of the picture, int32 [3].
      seed: seed of the crop, int32 [2].
      area: range of the crop's fraction of the picture's area.
      aspect: range of the crop's width divided by its height.

    Returns:
      The top, left, height and width of the crop in pixels, int32 [4].
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        image_size=shape,
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=aspect,
        area_range=area,
        max_attempts=_ATTEMPTS,
    )
    return tf.concat([begin[:2], size[:2]], axis=0)


def central_window(shape: tf.Tensor, share: float = CENTRAL_CROP) -> tf.Tensor:
    """Returns the central square as a window; `share` is its side divided by the short side."""
    height, width = shape[0], shape[1]
    short = tf.cast(tf.minimum(height, width), tf.float32)
    side = tf.maximum(tf.cast(tf.round(short * share), tf.int32), 1)
    return tf.stack([(height - side) // 2, (width - side) // 2, side, side])


def decode(contents: tf.Tensor, window: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Decodes a window of a JPEG or PNG file; of a JPEG, only the window is decoded.

    Greyscale, CMYK, palette and 16-bit pictures become 8-bit RGB; transparency is dropped.

    Args:
      contents: content of the file, a scalar string.
      window: function of the shape of the picture -> window, as from `random_window`.

    Returns:
      A picture, uint8 [h, w, 3].
    """

    def decode_jpeg() -> tf.Tensor:
        crop = window(tf.io.extract_jpeg_shape(contents))
        return tf.io.decode_and_crop_jpeg(contents, crop, channels=3, dct_method="INTEGER_ACCURATE")

    def decode_png() -> tf.Tensor:
        picture = tf.io.decode_png(contents, channels=3)
        top, left, height, width = tf.unstack(window(tf.shape(picture)))
        return picture[top : top + height, left : left + width]

    magic = tf.strings.substr(contents, 0, len(_JPEG_MAGIC))
    return tf.cond(magic == _JPEG_MAGIC, decode_jpeg, decode_png)


def resize(picture: tf.Tensor, image_size: int, channels: int) -> tf.Tensor:
    """Resizes a picture to a square by antialiased bicubic interpolation.

    Bicubic interpolation overshoots at edges, so values are clipped to [0, 255].

    Args:
      picture: picture [h, w, 3].
      image_size: side S of the result.
      channels: number C of channels, 3, or 1 for the luma (BT.601).

    Returns:
      A picture, uint8 [S, S, C], rounded to nearest.
    """
    picture = tf.image.resize(picture, [image_size, image_size], "bicubic", antialias=True)
    picture = tf.clip_by_value(picture, 0.0, 255.0)
    if channels == 1:
        picture = tf.reduce_sum(picture * _LUMA, axis=-1, keepdims=True)
    picture = tf.cast(tf.round(picture), tf.uint8)
    return tf.ensure_shape(picture, [image_size, image_size, channels])


def evaluation(
    contents: tf.Tensor, image_size: int, channels: int, share: float = CENTRAL_CROP
) -> tf.Tensor:
    """Returns a picture as evaluation shows it: the central square, resized.

    Args:
      contents: content of a JPEG or PNG file, a scalar string.
      image_size: side S of the result.
      channels: number C of channels, 3, or 1 for the luma.
      share: side of the square as a fraction of the short side.

    Returns:
      A picture, uint8 [S, S, C].
    """
    crop = decode(contents, lambda shape: central_window(shape, share))
    return resize(crop, image_size, channels)
