"""From the bytes of a picture to an array: crop, decode, resize.

Training takes Inception-style crops (Szegedy et al., 2015), as Sec. 4.1 of the paper does;
evaluation the usual central crop. What is what is told by a file's first bytes, not its name.
The orientation that a camera may note in a file (EXIF) is not applied.
"""

from collections.abc import Callable

from perceiver.data.class_folders import FileKind
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Share of the short side that the evaluation crop keeps: 224 pixels of 256.
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
    """Refuses sizes and crops that cannot be; see `random_window`.

    Raises:
      InputError: the option and its value.
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
    """An Inception-style crop.

    The whole picture counts as the object; no least share of it is asked for, so that `area`
    alone says how small a crop may be. After 10 attempts that do not fit, the whole picture.

    Args:
      shape: of the picture, int32 [3].
      seed: int32 [2].
      area: range of the crop's share of the picture's area.
      aspect: range of the crop's width over height.

    Returns:
      top, left, height and width in pixels, int32 [4].
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
    """The central square with a share of the short side; see `random_window` for the form."""
    height, width = shape[0], shape[1]
    short = tf.cast(tf.minimum(height, width), tf.float32)
    side = tf.maximum(tf.cast(tf.round(short * share), tf.int32), 1)
    return tf.stack([(height - side) // 2, (width - side) // 2, side, side])


def decode(contents: tf.Tensor, window: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Decodes the part of a JPEG or PNG that `window` picks, given the picture's shape.

    Of a JPEG no more than that part is decoded. Greyscale, CMYK, palette and 16-bit pictures come
    out as 8-bit RGB; transparency is dropped.

    Returns:
      uint8 [h, w, 3].
    """

    def of_jpeg() -> tf.Tensor:
        picked = window(tf.io.extract_jpeg_shape(contents))
        return tf.io.decode_and_crop_jpeg(
            contents, picked, channels=3, dct_method="INTEGER_ACCURATE"
        )

    def of_png() -> tf.Tensor:
        picture = tf.io.decode_png(contents, channels=3)
        top, left, height, width = tf.unstack(window(tf.shape(picture)))
        return picture[top : top + height, left : left + width]

    magic = tf.strings.substr(contents, 0, len(_JPEG_MAGIC))
    return tf.cond(magic == _JPEG_MAGIC, of_jpeg, of_png)


def resize(picture: tf.Tensor, image_size: int, channels: int) -> tf.Tensor:
    """Bicubic, with antialiasing, to a square.

    Bicubic overshoots at edges, so values are clipped to [0, 255].

    Args:
      picture: [h, w, 3].
      image_size: S, the side.
      channels: C, 3, or 1 for the luma (BT.601).

    Returns:
      uint8 [S, S, C], rounded to nearest.
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
    """What evaluation shows of a picture: its central square, resized.

    Args:
      contents: a JPEG or PNG, a scalar string.
      image_size: S, the side that comes out.
      channels: C, 3, or 1 for the luma.
      share: of the short side that the square keeps.

    Returns:
      uint8 [S, S, C].
    """
    crop = decode(contents, lambda shape: central_window(shape, share))
    return resize(crop, image_size, channels)
