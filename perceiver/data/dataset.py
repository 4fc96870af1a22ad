"""Data sets as loaders return them: splits with random access, and the names of the classes.

This module imports without TensorFlow, so that programs can name its types and start quickly.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from perceiver.errors import InputError

if TYPE_CHECKING:
    from perceiver.data.stream.batches import TrainIterator
    from perceiver.data.tensorflow_cpu import tf

Features = dict[str, "tf.Tensor"]
Batch = dict[str, np.ndarray]


def _numbered(index: int) -> str:
    return f"example {index}"


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set, with random access.

    The features of an example are its inputs and its label, with static shapes. Inputs have the
    smallest suitable dtype; the model standardises them on the device:

      'image': uint8 [S, S, C].
      'points': float32 [M, 3] within [-1, 1].
      'audio': int16 [samples], mono at 48 kHz.
      'spectrogram': float16 [T, mel bins], log-mel.
      'video': uint8 [T, S, S, 3], 25 frames per second.
      'label': int32 [], or, for a data set with several labels per example:
      'labels': uint8 [classes], 1 for each class that is present.

    Attributes:
      num_examples: number of examples, at least 1.
      example: function (index, seed) -> features, with index an int64 scalar in
        [0, num_examples) and seed an int32 [2] or None. It runs in a tf.data graph, without
        Python code per example. Without a seed nothing is augmented; with one, the augmentation
        is a function of the seed alone.
      name: function index -> name of the example in messages, its path if it has one.
      eval_windows: number W of windows per example in evaluation. If it is not 0, the inputs of an
        example without a seed have a leading axis of W windows, whose scores are averaged.
      mix_pair: function (features, seed) -> features that mixes two training examples, or None.
        Every feature has a leading axis of 2. The function may add 'other_label', int32 [2], and
        'label_weight', float32 [2], the weight of 'label' in the mixed inputs.
    """

    num_examples: int
    example: Callable[["tf.Tensor", "tf.Tensor | None"], Features]
    name: Callable[[int], str] = _numbered
    eval_windows: int = 0
    mix_pair: Callable[[Features, "tf.Tensor"], Features] | None = None

    def train_batches(
        self,
        *,
        batch_size: int,
        seed: int,
        process_index: int = 0,
        process_count: int = 1,
        max_unreadable: float = 0.0,
    ) -> "TrainIterator":
        """Returns endless shuffled and augmented batches.

        Slot s of the stream belongs to epoch s // num_examples. Each epoch shows every example
        exactly once in a different order; a batch may span two epochs, and no example is dropped.
        With G = batch_size * process_count, global batch b has the slots [b G, (b + 1) G), and
        process p takes the p-th contiguous part of them. So the examples and their augmentation do
        not depend on the number of processes.

        Args:
          batch_size: number B of examples per batch of this process; even if `mix_pair` is given.
          seed: seed of the order and the augmentation, any signed 64-bit integer.
          process_index: index p of this process.
          process_count: number of processes.
          max_unreadable: fraction of the examples that this process may skip because they cannot be
            read.

        Raises:
          InputError: an argument is out of range.
        """
        from perceiver.data.stream import batches  # imports TensorFlow

        return batches.train_iterator(
            self,
            batch_size=batch_size,
            seed=seed,
            process_index=process_index,
            process_count=process_count,
            max_unreadable=max_unreadable,
        )

    def eval_batches(
        self, *, batch_size: int, process_index: int = 0, process_count: int = 1
    ) -> Iterator[Batch]:
        """Returns batches that show every example once over all processes, in order.

        Examples are not augmented. Batches have the features of this class with a leading axis B,
        inputs with a second axis of windows if `eval_windows` is not 0; 'index', int32 [B], the
        index of each example; and 'mask', float32 [B], 1 for an example and 0 for padding, whose
        other entries are zeros. Every process gets ceil(num_examples / (batch_size *
        process_count)) batches, and some of them may consist of padding.

        Args:
          batch_size: number B of examples per batch of this process.
          process_index: index of this process.
          process_count: number of processes.

        Raises:
          InputError: an argument is out of range, or, during iteration, an example cannot be read.
            The message names the example.
        """
        from perceiver.data.stream import batches  # imports TensorFlow

        return batches.eval_batches(
            self,
            batch_size=batch_size,
            process_index=process_index,
            process_count=process_count,
        )


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The splits of a data set and its classes.

    Attributes:
      train: training split.
      eval: test or validation split, for reporting.
      class_names: name of each class, in the order of the labels.
      held_out: part of the training split for model selection, or None.
    """

    train: Source
    eval: Source
    class_names: tuple[str, ...]
    held_out: Source | None = None


def with_held_out(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Returns the data set with a random part of its training examples moved to `held_out`.

    Model selection on this part leaves the test split for reporting.

    Args:
      dataset: data set with all its training examples in `train`.
      fraction: fraction of the training examples to hold out, at least 0 and below 1; 0 returns
        the data set unchanged.
      seed: seed of the random choice, at least 0 and below 2 ** 32.

    Raises:
      InputError: the fraction or the seed is out of range, or the fraction selects no example or
        all of them.
    """
    if not fraction:
        return dataset
    if not 0 < fraction < 1:
        raise InputError(f"held_out is {fraction}: give a fraction from 0 to below 1")
    if not 0 <= seed < 2**32:
        raise InputError(f"held_out_seed is {seed}: give a whole number from 0 to below 2 ** 32")
    total = dataset.train.num_examples
    count = round(fraction * total)
    if not 0 < count < total:
        raise InputError(
            f"held_out is {fraction}, which is {count:,} of {total:,} training examples: hold out "
            "at least one and leave at least one"
        )
    # The stream of the legacy generator is frozen, so the choice is the same with any NumPy.
    order = np.random.RandomState(seed).permutation(total)
    held_out, remaining = np.sort(order[:count]), np.sort(order[count:])
    windows = dataset.eval.eval_windows
    return dataclasses.replace(
        dataset,
        train=_subset(dataset.train, remaining),
        held_out=dataclasses.replace(_subset(dataset.train, held_out), eval_windows=windows),
    )


def _subset(source: Source, chosen: np.ndarray) -> Source:
    from perceiver.data.tensorflow_cpu import tf

    indices = tf.constant(chosen, tf.int64)
    return dataclasses.replace(
        source,
        num_examples=len(chosen),
        example=lambda index, seed: source.example(tf.gather(indices, index), seed),
        name=lambda index: source.name(int(chosen[index])),
    )


Loader = Callable[..., Dataset]


def takes_recipe(kind: type) -> Callable[[Loader], Loader]:
    """Returns a decorator that adds the attributes of a recipe to the options of a loader.

    A recipe is a dataclass that preprocesses and augments examples. The decorated loader has a
    parameter `recipe`; the result takes the recipe's attributes by name, with their defaults, in
    its place.

    Args:
      kind: dataclass of the recipe, which raises an InputError for an invalid attribute.
    """
    recipe_parameters = inspect.signature(kind).parameters

    def decorate(load: Loader) -> Loader:
        signature = inspect.signature(load)
        own = [p for name, p in signature.parameters.items() if name != "recipe"]
        added = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in recipe_parameters.values()]

        @functools.wraps(load)
        def with_options(**options) -> Dataset:
            given = {name: options.pop(name) for name in recipe_parameters if name in options}
            return load(**options, recipe=kind(**given))

        # `inspect.signature` returns this attribute, which the stub of `wraps` lacks.
        with_options.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=own + added
        )
        return with_options

    return decorate
