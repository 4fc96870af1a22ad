"""Turns an encoded picture into the network's input, with the recipe of Sec. 4.1.

Training decodes a random crop of the file, flips half of the crops, applies RandAugment to the crop
at its original size, and resizes it. Evaluation resizes the central crop.
"""

import dataclasses
from collections.abc import Callable

from perceiver.data.dataset import Features
from perceiver.data.images import pictures, randaugment
from perceiver.data.images.mixing import mixer
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError


@dataclasses.dataclass(frozen=True)
class ImageRecipe:
    """The preprocessing and augmentation of each picture.

    Attributes:
      image_size: side S of the resulting pictures, in pixels.
      channels: number C of channels, 3, or 1 for greyscale.
      crop_area: range of a training crop's fraction of the picture's area, within (0, 1]. Sides are
        whole pixels, so a range too narrow for any crop leaves pictures uncropped.
      crop_aspect: range of a training crop's width divided by its height.
      flip: whether training flips half of the pictures horizontally.
      randaugment_layers: number of operations applied to each picture; 0 for none.
      randaugment_magnitude: strength of all operations, 0 to 30; see `randaugment`.
      randaugment_operations: names of operations to draw from, in `randaugment.OPERATIONS`.
      randaugment_translate: distance of translations at magnitude 10, in pixels of the crop.
      randaugment_cutout: half the side of cutout's square at magnitude 10, in pixels of the crop.
      randaugment_fill: grey level, 0 to 255, of cutout and of pixels from outside the picture.
      mixup_alpha: parameter of Mixup, see `mixing.mixer`; 0 for none.
      cutmix_alpha: parameter of CutMix, see `mixing.mixer`; 0 for none.

    Raises:
      InputError: an attribute is out of range.
    """

    image_size: int
    channels: int
    crop_area: tuple[float, float]
    crop_aspect: tuple[float, float]
    flip: bool
    randaugment_layers: int = 0
    randaugment_magnitude: float = 9.0
    randaugment_operations: tuple[str, ...] = randaugment.OPERATIONS
    randaugment_translate: float = 100.0
    randaugment_cutout: float = 40.0
    randaugment_fill: int = 128
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self):
        pictures.check_crop(self.image_size, self.crop_area, self.crop_aspect)
        if self.channels not in (1, 3):
            raise InputError(f"channels is {self.channels}: give 1 for greyscale or 3 for RGB")
        self._randaugment().check()
        self.mix_pair()

    def training(self, contents: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns a training picture, a function of the file and the seed.

        Args:
          contents: content of a JPEG or PNG file, a scalar string.
          seed: seed of the augmentation, int32 [2].

        Returns:
          A picture, uint8 [S, S, C].
        """
        crop_seed, flip_seed, randaugment_seed = tf.unstack(tf.random.split(seed, 3))

        def window(shape: tf.Tensor) -> tf.Tensor:
            return pictures.random_window(shape, crop_seed, self.crop_area, self.crop_aspect)

        crop = pictures.decode(contents, window)
        if self.flip:
            crop = tf.image.stateless_random_flip_left_right(crop, flip_seed)
        if self.randaugment_layers:
            crop = self._randaugment()(crop, randaugment_seed)
        return pictures.resize(crop, self.image_size, self.channels)

    def evaluation(self, contents: tf.Tensor) -> tf.Tensor:
        """Returns the central crop, uint8 [S, S, C], of a JPEG or PNG file, a scalar string."""
        return pictures.evaluation(contents, self.image_size, self.channels)

    def mix_pair(self) -> Callable[[Features, tf.Tensor], Features] | None:
        """Returns the function for `Source.mix_pair`, or None if training does not mix pictures."""
        return mixer(self.mixup_alpha, self.cutmix_alpha)

    def _randaugment(self) -> randaugment.RandAugment:
        return randaugment.RandAugment(
            layers=self.randaugment_layers,
            magnitude=self.randaugment_magnitude,
            operations=tuple(self.randaugment_operations),
            translate=self.randaugment_translate,
            cutout=self.randaugment_cutout,
            fill=self.randaugment_fill,
        )
