"""From an encoded picture to the network's input: the recipe of Sec. 4.1, for any source.

Training takes a random crop decoded from the file, mirrors half of the crops, applies RandAugment
to the crop at its own size, and resizes it; evaluation takes the central crop and resizes it.
Whatever holds encoded pictures, a folder or a TFDS data set, uses the same recipe.
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
    """What is done to each picture.

    Attributes:
      image_size: S, side of the pictures that come out.
      channels: C, 3, or 1 for greyscale.
      crop_area: range of a training crop's share of the picture's area, within (0, 1]. Sides are
        whole pixels, so a range too narrow to be met leaves pictures whole.
      crop_aspect: range of a training crop's width over height.
      flip: whether training mirrors half of the pictures left to right.
      randaugment_layers: operations in a row, each drawn anew for each picture; 0 for none.
      randaugment_magnitude: strength of all operations, 0 to 30; see `randaugment`.
      randaugment_operations: names of those to draw from, of `randaugment.OPERATIONS`.
      randaugment_translate: how far the translations go at magnitude 10, in pixels of the crop.
      randaugment_cutout: half the side of cutout's square at magnitude 10, in pixels of the crop.
      randaugment_fill: grey level, 0 to 255, of what comes in from outside and of cutout.
      mixup_alpha: see `mixing.mixer`; 0 for none.
      cutmix_alpha: see there; 0 for none.

    Raises:
      InputError: a value that cannot be.
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
        """A training example, which is a function of the file and the seed.

        Args:
          contents: a JPEG or PNG, a scalar string.
          seed: int32 [2].

        Returns:
          uint8 [S, S, C].
        """
        for_crop, for_flip, for_augment = tf.unstack(tf.random.split(seed, 3))
        crop = pictures.decode(
            contents,
            lambda shape: pictures.random_window(shape, for_crop, self.crop_area, self.crop_aspect),
        )
        if self.flip:
            crop = tf.image.stateless_random_flip_left_right(crop, for_flip)
        if self.randaugment_layers:
            crop = self._randaugment()(crop, for_augment)
        return pictures.resize(crop, self.image_size, self.channels)

    def evaluation(self, contents: tf.Tensor) -> tf.Tensor:
        """The central crop: uint8 [S, S, C] of a JPEG or PNG, a scalar string."""
        return pictures.evaluation(contents, self.image_size, self.channels)

    def mix_pair(self) -> Callable[[Features, tf.Tensor], Features] | None:
        """What mixes two training examples, for `Source.mix_pair`."""
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
