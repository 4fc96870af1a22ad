"""Pictures in a folder of classes: ImageNet as it is unpacked, or a user's own (Sec. 4.1)."""

import os

from perceiver.data import class_folders
from perceiver.data.errors import DataError
from perceiver.data.images import pictures
from perceiver.data.source import Dataset, Source
from perceiver.data.tensorflow_cpu import tf


def load(
    *,
    dir: str,
    image_size: int,
    channels: int,
    val_fraction: float,
    split_seed: int,
    crop_area: tuple[float, float],
    crop_aspect: tuple[float, float],
    flip: bool,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Dataset:
    """Finds the pictures; they are read as they are asked for.

    Training takes a random crop, resized and flipped at random; evaluation the central square
    with 224/256 of the short side. The labels follow the sorted names of the class folders.

    Args:
      dir: folder with train/<class>/* and val/<class>/*, or <class>/*; .jpg, .jpeg or .png.
      image_size: S, side of the pictures that come out.
      channels: C, 3, or 1 for greyscale.
      val_fraction: share of the pictures held out where `dir` has no split; not used otherwise.
      split_seed: decides which are held out.
      crop_area: range of a training crop's share of the picture's area, within (0, 1]. Sides are
        whole pixels, so a range too narrow to be met leaves pictures whole.
      crop_aspect: range of a training crop's width over height.
      flip: whether training mirrors half of the pictures left to right.
      mean: of each channel, where 1 is white.
      std: of each channel.

    Returns:
      'image', float32 [S, S, C], and 'label', int32 [].

    Raises:
      DataError: options that cannot be, or a folder that is not as above; see `class_folders.find`.
    """
    _check(image_size, channels, crop_area, crop_aspect, mean, std)
    train, val = class_folders.find(dir, pictures.PICTURES, val_fraction, split_seed)

    def finish(picture: tf.Tensor) -> tf.Tensor:
        return pictures.normalise(picture, mean, std)

    def training_image(contents: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        for_crop, for_flip = tf.unstack(tf.random.split(seed, 2))
        crop = pictures.decode(
            contents,
            lambda shape: pictures.random_window(shape, for_crop, crop_area, crop_aspect),
        )
        image = pictures.resize(crop, image_size, channels)
        if flip:
            image = tf.image.stateless_random_flip_left_right(image, for_flip)
        return finish(image)

    def evaluation_image(contents: tf.Tensor) -> tf.Tensor:
        crop = pictures.decode(contents, pictures.central_window)
        return finish(pictures.resize(crop, image_size, channels))

    def source(found: class_folders.Files) -> Source:
        paths = [path for of_class in found.values() for path in of_class]
        labels = [label for label, of_class in enumerate(found.values()) for _ in of_class]
        # tf.data functions take large constants by reference, so there is one copy in memory.
        all_paths = tf.constant([os.fsencode(path) for path in paths])
        all_labels = tf.constant(labels, tf.int32)

        def example(index: tf.Tensor, seed: tf.Tensor | None) -> dict[str, tf.Tensor]:
            contents = tf.io.read_file(tf.gather(all_paths, index))
            image = evaluation_image(contents) if seed is None else training_image(contents, seed)
            return {"image": image, "label": tf.gather(all_labels, index)}

        return Source(len(paths), example, paths.__getitem__)

    return Dataset(train=source(train), eval=source(val), class_names=tuple(train))


def _check(
    image_size: int,
    channels: int,
    crop_area: tuple[float, float],
    crop_aspect: tuple[float, float],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    if image_size < 1:
        raise DataError(f"image_size is {image_size}: give a number of pixels")
    if channels not in (1, 3):
        raise DataError(f"channels is {channels}: give 1 for greyscale or 3 for RGB")
    if not 0 < crop_area[0] <= crop_area[1] <= 1:
        raise DataError(f"crop_area is {crop_area}: give a range within (0, 1], such as (0.08, 1)")
    if not 0 < crop_aspect[0] <= crop_aspect[1]:
        raise DataError(f"crop_aspect is {crop_aspect}: give a range such as (0.75, 1.333)")
    if len(mean) != channels or len(std) != channels:
        raise DataError(f"mean {mean} and std {std} must have {channels} values, one a channel")
    if min(std) <= 0:
        raise DataError(f"std is {std}: every value must be positive")
