"""Loads scikit-learn's handwritten digits, 1,797 pictures of 8 x 8, for tests and first runs.

The paper does not use them. They come with scikit-learn, so a network can be trained in a minute
without a download.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from perceiver.data.dataset import Dataset, Source
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

_SIZE = 8
_LEVEL = 8  # grey levels per unit of load_digits, which counts the dark pixels of 4 x 4 blocks
_NUM_EVAL = 360
_SPLIT_SEED = 0


def load(*, image_size: int, channels: int, max_shift: int = 0) -> Dataset:
    """Loads the digits in a fixed stratified split: 1,437 for training, 360 for evaluation.

    Args:
      image_size: side of the pictures; must be 8.
      channels: number of channels; must be 1.
      max_shift: maximum random shift in training, in pixels in each direction; the border is filled
        with background. 0 for none.

    Returns:
      A data set of 'image', uint8 [8, 8, 1], from 0 (background) to 128, and 'label', int32 [].

    Raises:
      InputError: another image_size or channels, or a shift outside of [0, 8).
    """
    if (image_size, channels) != (_SIZE, 1):
        raise InputError(
            f"digits are {_SIZE} x {_SIZE} with 1 channel, not image_size {image_size} and "
            f"channels {channels}: set image_size to {_SIZE} and channels to 1"
        )
    if not 0 <= max_shift < _SIZE:
        raise InputError(f"max_shift is {max_shift}: give a number of pixels from 0 to {_SIZE - 1}")
    digits = load_digits()
    images = (digits.images[..., None] * _LEVEL).astype(np.uint8)
    labels = digits.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=_NUM_EVAL, stratify=labels, random_state=_SPLIT_SEED
    )
    return Dataset(
        train=_source(images[train], labels[train], max_shift),
        eval=_source(images[test], labels[test], max_shift),
        class_names=tuple(str(name) for name in digits.target_names),
    )


def _source(images: np.ndarray, labels: np.ndarray, max_shift: int) -> Source:
    all_images, all_labels = tf.constant(images), tf.constant(labels)

    def example(index: tf.Tensor, seed: tf.Tensor | None) -> dict[str, tf.Tensor]:
        image = tf.gather(all_images, index)
        if seed is not None and max_shift:
            image = _shift(image, seed, max_shift)
        return {"image": image, "label": tf.gather(all_labels, index)}

    return Source(len(labels), example)


def _shift(image: tf.Tensor, seed: tf.Tensor, max_shift: int) -> tf.Tensor:
    padded = tf.pad(image, [[max_shift, max_shift], [max_shift, max_shift], [0, 0]])
    return tf.image.stateless_random_crop(padded, image.shape, seed)
