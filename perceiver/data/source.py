"""A data set as its loader hands it to the pipeline: examples by number, and what to call them."""

import dataclasses
from collections.abc import Callable

from perceiver.data.tensorflow_cpu import tf


def _name_by_number(index: int) -> str:
    return f"example {index}"


Features = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set with random access.

    The features of an example are its inputs and its label, with static shapes. Inputs are as
    small as they can be, and are normalised on the device:

      'image': uint8 [S, S, C].
      'points': float32 [M, 3] within [-1, 1].
      'audio': int16 [samples], mono at 48 kHz.
      'spectrogram': float16 [T, mel bins], log-mel.
      'video': uint8 [T, S, S, 3], 25 frames a second.
      'label': int32 [], or for a data set with several labels an example:
      'labels': uint8 [classes], 1 for each class that is there.

    Attributes:
      num_examples: how many examples there are, at least 1.
      example: (index, seed) -> features. index is an int64 scalar in [0, num_examples), seed an
        int32 [2] or None. It runs in a tf.data graph, so that no Python runs for an example.
        Without a seed nothing is augmented; with one, the augmentation is a function of the seed
        and of nothing else.
      name: what a message calls an example, a path where it has one.
      eval_windows: W. Where it is not 0, the inputs of an example without a seed gain a leading
        axis of W windows, whose scores are to be averaged.
      of_pair: (features, seed) -> features, for training that mixes two examples; None for none.
        Every feature has a leading axis of 2. It may add 'other_label', int32 [2], and
        'label_weight', float32 [2], the share of 'label' in what the inputs then show.
    """

    num_examples: int
    example: Callable[[tf.Tensor, tf.Tensor | None], Features]
    name: Callable[[int], str] = _name_by_number
    eval_windows: int = 0
    of_pair: Callable[[Features, tf.Tensor], Features] | None = None


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The splits of a data set, and the class names in the order of the labels.

    Attributes:
      train: what is learned from.
      eval: the test or validation split, for reporting.
      class_names: by label.
      held_out: a part of the training split to choose by, where one was asked for.
    """

    train: Source
    eval: Source
    class_names: tuple[str, ...]
    held_out: Source | None = None
