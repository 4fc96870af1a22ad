"""A data set as its loader hands it to the pipeline: examples by number, and what to call them."""

import dataclasses
from collections.abc import Callable

from perceiver.data.tensorflow_cpu import tf


def _name_by_number(index: int) -> str:
    return f"example {index}"


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set with random access.

    Attributes:
      num_examples: how many examples there are, at least 1.
      example: (index, seed) -> features. index is an int64 scalar in [0, num_examples), seed an
        int32 [2] or None. The features are 'image', float32 [H, W, C], or 'points', float32
        [M, 3], and 'label', int32 []; their shapes are static. It runs in a tf.data graph, so
        that no Python runs for an example. Without a seed nothing is augmented; with one, the
        augmentation is a function of the seed and of nothing else.
      name: what a message calls an example, a path where it has one.
    """

    num_examples: int
    example: Callable[[tf.Tensor, tf.Tensor | None], dict[str, tf.Tensor]]
    name: Callable[[int], str] = _name_by_number


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The two splits of a data set, and the class names in the order of the labels."""

    train: Source
    eval: Source
    class_names: tuple[str, ...]
