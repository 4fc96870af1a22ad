"""RandAugment (Cubuk et al., 2020): a few operations in a row, drawn at random for each picture.

The strength of an operation follows from one magnitude for all, in the scale of its authors'
code, where 10 is the full strength:

  rotate: 30 degrees. shear_x, shear_y: 0.3. translate_x, translate_y: `translate` pixels. The
    direction is drawn.
  color, contrast, brightness, sharpness: a factor of 0.1 + 1.8, where 1 leaves the picture as is.
  posterize: 4 bits. solarize: the threshold 256. solarize_add: 110 levels. cutout: a square from
    `cutout` pixels before a pixel drawn from all to as far behind it.
  identity, autocontrast, equalize, invert: the same at any.

At another magnitude m each of these numbers is m / 10 of it, except the 0.1. So factors begin in
0.1, and posterize and solarize change most at low magnitudes: 0 is not off. Fewer bits than one
are one, since none would leave no picture. Whole numbers are cut off, not rounded. Magnitudes
above 10 go on in the same way.
"""

import dataclasses
import math
from collections.abc import Callable

from perceiver.data.images import image_operations
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError
from perceiver.names import unknown

_FULL = 10  # the magnitude of full strength
_MOST = 30  # where rotations reach 90 degrees


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """What to draw from, and how strong it is; calling it augments a picture.

    Attributes:
      layers: operations in a row; 0 for none.
      magnitude: 0 to 30.
      operations: names to draw from, of OPERATIONS; each is as likely.
      translate: pixels that translations go at magnitude 10.
      cutout: half the side of cutout's square at magnitude 10, in pixels.
      fill: grey level, 0 to 255, of what comes in from outside and of cutout.
    """

    layers: int
    magnitude: float
    operations: tuple[str, ...]
    translate: float
    cutout: float
    fill: int

    def check(self) -> None:
        """Raises InputError where an option, called as in the loaders, cannot be."""
        if self.layers < 0:
            raise InputError(f"randaugment_layers is {self.layers}: give 0 for none, or how many")
        if not 0 <= self.magnitude <= _MOST:
            raise InputError(
                f"randaugment_magnitude is {self.magnitude}: give 0 to {_MOST}; {_FULL} is full"
            )
        for name in self.operations:
            if name not in _OPERATIONS:
                raise InputError(unknown(name, OPERATIONS, what="operation of RandAugment"))
        if self.layers and not self.operations:
            raise InputError("randaugment_operations is empty: name some, or set 0 layers")
        if not 0 <= self.translate < math.inf:
            raise InputError(f"randaugment_translate is {self.translate}: give pixels, 0 or more")
        if not 0 <= self.cutout < math.inf:
            raise InputError(f"randaugment_cutout is {self.cutout}: give pixels, 0 or more")
        if not 0 <= self.fill <= 255:
            raise InputError(f"randaugment_fill is {self.fill}: give a grey level, 0 to 255")

    def __call__(self, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments one picture, as a function of the seed.

        Args:
          picture: uint8 [h, w, 3].
          seed: int32 [2].

        Returns:
          uint8 [h, w, 3].
        """
        for layer in range(self.layers):
            picture = self._layer(picture, tf.random.experimental.stateless_fold_in(seed, layer))
        return picture

    def strength(self, full: float) -> float:
        """What `full` at magnitude 10 is at this one."""
        return self.magnitude * full / _FULL

    def _layer(self, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        for_operation, for_details = tf.unstack(tf.random.split(seed, 2))
        drawn = tf.random.stateless_uniform(
            [], for_operation, maxval=len(self.operations), dtype=tf.int32
        )

        def branch(name: str) -> Callable[[], tf.Tensor]:
            return lambda: _OPERATIONS[name](self, picture, for_details)

        # Only the branch of the drawn number runs.
        picture = tf.switch_case(drawn, [branch(name) for name in self.operations])
        return tf.ensure_shape(picture, [None, None, 3])


_Operation = Callable[[RandAugment, tf.Tensor, tf.Tensor], tf.Tensor]


def _either_way(seed: tf.Tensor) -> tf.Tensor:
    """1 or -1, as likely."""
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


def _geometric(operation: Callable, full: Callable[[RandAugment], float]) -> _Operation:
    def either_way(options: RandAugment, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        amount = tf.cast(_either_way(seed), tf.float64) * options.strength(full(options))
        return operation(picture, amount, options.fill)

    return either_way


def _cutout(options: RandAugment, picture: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    place = tf.random.stateless_uniform([2], seed)
    row, column = tf.unstack(tf.cast(place * tf.cast(tf.shape(picture)[:2], tf.float32), tf.int32))
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
