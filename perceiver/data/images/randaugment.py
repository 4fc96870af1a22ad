"""Applies RandAugment (Cubuk et al., 2020): random operations in sequence for each picture.

One magnitude sets the strength of all operations, in the scale of the authors' code. At 10 the
parameters are:

  rotate: 30 degrees. shear_x, shear_y: 0.3. translate_x, translate_y: `translate` pixels. The
    direction is random.
  color, contrast, brightness, sharpness: a factor of 0.1 + 1.8; 1 would not change the picture.
  posterize: 4 bits. solarize: the threshold 256. solarize_add: 110 levels. cutout: a square of
    `cutout` pixels in each direction from a random pixel.
  identity, autocontrast, equalize, invert: no parameters.

At a magnitude m, also above 10, these numbers are multiplied by m / 10, except the 0.1. So factors
start at 0.1, and posterize and solarize are strongest at low magnitudes: 0 does not turn them off.
Posterize keeps at least one bit. Integers are truncated, not rounded.
"""

import dataclasses
import math
from collections.abc import Callable

from perceiver.data.images import image_operations
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from perceiver.names import unknown

_REFERENCE = 10  # magnitude for which the parameters are given
_MAX = 30  # magnitude at which rotations reach 90 degrees


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """The options of RandAugment; calling the object augments a picture.

    Attributes:
      layers: number of operations applied to each picture; 0 for none.
      magnitude: strength of all operations, 0 to 30.
      operations: names of operations in OPERATIONS, drawn with equal probability.
      translate: distance of translations at magnitude 10, in pixels.
      cutout: half the side of cutout's square at magnitude 10, in pixels.
      fill: grey level, 0 to 255, of cutout and of pixels from outside the picture.
    """

    layers: int
    magnitude: float
    operations: tuple[str, ...]
    translate: float
    cutout: float
    fill: int

    def check(self) -> None:
        """Raises an InputError with the name of the loader's option if an attribute is invalid."""
        if self.layers < 0:
            raise InputError(
                f"randaugment_layers is {self.layers}: give 0 for none, or a number of operations"
            )
        if not 0 <= self.magnitude <= _MAX:
            raise InputError(f"randaugment_magnitude is {self.magnitude}: give 0 to {_MAX}")
        for name in self.operations:
            if name not in _OPERATIONS:
                raise InputError(unknown(name, OPERATIONS, what="operation of RandAugment"))
        if self.layers and not self.operations:
            raise InputError("randaugment_operations is empty: name operations, or set 0 layers")
        if not 0 <= self.translate < math.inf:
            raise InputError(f"randaugment_translate is {self.translate}: give pixels, 0 or more")
        if not 0 <= self.cutout < math.inf:
            raise InputError(f"randaugment_cutout is {self.cutout}: give pixels, 0 or more")
        if not 0 <= self.fill <= 255:
            raise InputError(f"randaugment_fill is {self.fill}: give a grey level, 0 to 255")

    def __call__(self, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments one picture, as a function of the seed.

        Args:
          picture: picture, uint8 [h, w, 3].
          seed: seed of the augmentation, int32 [2].

        Returns:
          The augmented picture, uint8 [h, w, 3].
        """
        for layer in range(self.layers):
            picture = self._layer(picture, tf.random.experimental.stateless_fold_in(seed, layer))
        return picture

    def strength(self, reference: float) -> float:
        """Returns a parameter at this magnitude, given its value at magnitude 10."""
        return self.magnitude * reference / _REFERENCE

    def _layer(self, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        operation_seed, parameter_seed = tf.unstack(tf.random.split(seed, 2))
        drawn = tf.random.stateless_uniform(
            [], operation_seed, maxval=len(self.operations), dtype=tf.int32
        )

        def branch(name: str) -> Callable[[], tf.Tensor]:
            return lambda: _OPERATIONS[name](self, picture, parameter_seed)

        # Only the branch of the drawn operation runs.
        picture = tf.switch_case(drawn, [branch(name) for name in self.operations])
        return tf.ensure_shape(picture, [None, None, 3])


_Operation = Callable[[RandAugment, tf.Tensor, tf.Tensor], tf.Tensor]


def _random_sign(seed: tf.Tensor) -> tf.Tensor:
    """Returns 1 or -1 with equal probability."""
    return tf.where(tf.random.stateless_uniform([], seed) < 0.5, -1.0, 1.0)


def _pointwise(operation: Callable[[tf.Tensor], tf.Tensor]) -> _Operation:
    return lambda options, picture, seed: operation(picture)


def _enhance(operation: Callable[[tf.Tensor, float], tf.Tensor]) -> _Operation:
    return lambda options, picture, seed: operation(picture, options.strength(1.8) + 0.1)


def _posterize(options: RandAugment, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return image_operations.posterize(picture, min(max(int(options.strength(4)), 1), 8))


def _solarize(options: RandAugment, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return image_operations.solarize(picture, int(options.strength(256)))


def _solarize_add(options: RandAugment, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return image_operations.solarize_add(picture, int(options.strength(110)))


def _geometric(operation: Callable, reference: Callable[[RandAugment], float]) -> _Operation:
    def apply(options: RandAugment, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        amount = tf.cast(_random_sign(seed), tf.float64) * options.strength(reference(options))
        return operation(picture, amount, options.fill)

    return apply


def _cutout(options: RandAugment, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    centre = tf.random.stateless_uniform([2], seed)
    row, column = tf.unstack(tf.cast(centre * tf.cast(tf.shape(picture)[:2], tf.float32), tf.int32))
    half_side = int(options.strength(options.cutout))
    return image_operations.cutout(picture, row, column, half_side, options.fill)


_OPERATIONS: dict[str, _Operation] = {
    "identity": _pointwise(tf.identity),
    "autocontrast": _pointwise(image_operations.autocontrast),
    "equalize": _pointwise(image_operations.equalize),
    "invert": _pointwise(image_operations.invert),
    "rotate": _geometric(image_operations.rotate, lambda options: 30.0),
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize_add": _solarize_add,
    "color": _enhance(image_operations.color),
    "contrast": _enhance(image_operations.contrast),
    "brightness": _enhance(image_operations.brightness),
    "sharpness": _enhance(image_operations.sharpness),
    "shear_x": _geometric(image_operations.shear_x, lambda options: 0.3),
    "shear_y": _geometric(image_operations.shear_y, lambda options: 0.3),
    "translate_x": _geometric(image_operations.translate_x, lambda options: options.translate),
    "translate_y": _geometric(image_operations.translate_y, lambda options: options.translate),
    "cutout": _cutout,
}

OPERATIONS = tuple(_OPERATIONS)
