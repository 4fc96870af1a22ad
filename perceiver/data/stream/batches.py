"""Batches for training, endless and checkpointable, and for evaluation, each example once.

Every process of a run asks for its own share of each global batch. `perceiver.data.stream.order`
decides which example a place in the training stream shows; this module cuts the stream into
batches.
"""

import math
import sys
from collections.abc import Iterator

import numpy as np

from perceiver.data.dataset import Batch, Features, Source
from perceiver.data.errors import tensorflow_reason
from perceiver.data.stream import position
from perceiver.data.stream.order import example_of_slot, seed_of_pair, slots_of_batch
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Batches made ahead. A fixed number bounds the memory: a batch of 1024 pictures of 224 x 224
# takes 0.6 GB.
_PREFETCH = 2


class TrainIterator:
    """Endless training batches, whose place in the stream can be saved and found again.

    `next` gives the features of `Source`, with a leading axis B, and 'index', int32 [B], the number
    of each example in its data set.

    An example that cannot be read is passed over, with a warning that names it: the next one in
    the order of the data set that can be read is shown in its place, so the stream stays a function
    of the seed and of the files. Where there are more than `max_unreadable` an InputError names the
    last.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        seed: int,
        process_index: int,
        process_count: int,
        max_unreadable: int,
    ):
        """Builds the pipeline; see `train_iterator` for the arguments."""
        self._source = source
        self._batch_size = batch_size
        self._seed = seed
        self._process = (process_index, process_count)
        self._max_unreadable = max_unreadable
        self._unreadable: list[int] = []
        self._tried_again: int | None = None
        self._go_to(0)

    def __iter__(self) -> "TrainIterator":
        return self

    def __next__(self) -> Batch:
        while True:
            try:
                batch = next(self._iterator)
            except tf.errors.OpError as error:
                self._pass_over(error)
                continue
            self._batches += 1
            return {name: value.numpy() for name, value in batch.items()}

    def state(self) -> bytes:
        """All that is needed to go on after the batches taken so far, in a few hundred bytes.

        Batches made ahead but not taken do not count. Processes go in step, so the state that one
        of them saves fits them all, and any other number of processes with the same global batch.
        """
        return position.pack(self._batches, self._stream())

    def restore(self, state: bytes) -> None:
        """Goes to the place where `state` was saved, whatever was taken here before.

        Raises:
          InputError: the state is damaged, or comes from a stream with another seed, global batch
            size or number of examples. The iterator is then as it was.
        """
        self._go_to(position.unpack(state, self._stream()))

    def _stream(self) -> dict[str, int]:
        return {
            "num_examples": self._source.num_examples,
            "seed": self._seed,
            "batch_size": self._batch_size * self._process[1],
        }

    def _go_to(self, batches: int) -> None:
        """Continues with batch number `batches`."""
        self._batches = batches
        self._iterator = iter(self._build(batches))

    def _pass_over(self, error: tf.errors.OpError) -> None:
        """Finds what could not be read in the batch that failed, and goes on without it."""
        first = slots_of_batch(self._batches, self._batch_size, *self._process)
        slots = tf.range(first, first + self._batch_size, dtype=tf.int64)
        found = dict(_unreadable(self._source, [self._example_of(slot) for slot in slots]))
        if not found and self._tried_again == self._batches:
            raise error
        self._tried_again = self._batches  # a disk may fail once and then read
        for index, message in found.items():
            self._unreadable.append(index)
            count = len(self._unreadable)
            if count > self._max_unreadable:
                raise InputError(
                    f"{message}: replace or remove it ({count:,} of "
                    f"{self._source.num_examples:,} examples, {self._max_unreadable:,} are allowed)"
                ) from error
            print(
                f"warning: passed over {message}; {count:,} so far, {self._max_unreadable:,} are "
                "allowed",
                file=sys.stderr,
                flush=True,
            )
        self._go_to(self._batches)

    def _example_of(self, slot: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        index, seed = example_of_slot(slot, self._source.num_examples, self._seed)
        if self._unreadable:
            n = self._source.num_examples
            unreadable = tf.constant(sorted(self._unreadable), tf.int64)
            index = tf.while_loop(
                lambda index: tf.reduce_any(unreadable == index),
                lambda index: [(index + 1) % n],
                [index],
            )[0]
        return index, seed

    def _build(self, batches: int) -> tf.data.Dataset:
        def example(count: tf.Tensor) -> Features:
            first = slots_of_batch(count // self._batch_size, self._batch_size, *self._process)
            return _indexed(self._source, *self._example_of(first + count % self._batch_size))

        def pair(count: tf.Tensor, features: Features) -> Features:
            first = slots_of_batch(count // self._batch_size, self._batch_size, *self._process)
            return self._source.mix_pair(
                features, seed_of_pair(first + count % self._batch_size, self._seed)
            )

        # Nothing is shuffled in a buffer: a function of the count picks the examples. The place in
        # the stream is then a number, and an epoch's order needs no memory.
        counts = tf.data.Dataset.range(batches * self._batch_size, np.iinfo(np.int64).max)
        dataset = counts.map(example, num_parallel_calls=tf.data.AUTOTUNE)
        if self._source.mix_pair:
            # Pairs are neighbours in the stream, so they are the same for any number of processes.
            firsts = tf.data.Dataset.range(batches * self._batch_size, np.iinfo(np.int64).max, 2)
            dataset = tf.data.Dataset.zip(firsts, dataset.batch(2, drop_remainder=True))
            dataset = dataset.map(pair, num_parallel_calls=tf.data.AUTOTUNE)
            dataset = dataset.batch(self._batch_size // 2, drop_remainder=True)
            dataset = dataset.map(_unpaired)
        else:
            dataset = dataset.batch(self._batch_size, drop_remainder=True)
        return dataset.prefetch(_PREFETCH).with_options(_options())


def train_iterator(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    max_unreadable: float = 0.0,
) -> TrainIterator:
    """Endless shuffled and augmented batches.

    Slot s of the stream belongs to epoch s // num_examples, and each epoch shows every example
    exactly once in an order of its own; a batch may span two epochs and no example is dropped.
    Global batch b takes slots [b G, (b + 1) G) with G = batch_size * process_count, of which
    process p takes the p-th contiguous part: the examples consumed, and their augmentation, do
    not depend on the number of processes.

    Args:
      source: the examples.
      batch_size: B, this process's share of a global batch; even where the source mixes pairs.
      seed: decides the order and the augmentation; any 64-bit integer with a sign.
      process_index: p, which process this is.
      process_count: how many there are.
      max_unreadable: share of the examples that this process may pass over because they cannot be
        read.

    Raises:
      InputError: a size or process number that cannot be.
    """
    _check(source, batch_size, process_index, process_count)
    if not 0 <= max_unreadable < 1:
        raise InputError(f"max_unreadable is {max_unreadable}: give a share from 0 to below 1")
    if source.mix_pair and batch_size % 2:
        raise InputError(
            f"batch_size is {batch_size} a process: examples are mixed in pairs, so make it even"
        )
    return TrainIterator(
        source,
        batch_size=batch_size,
        seed=seed,
        process_index=process_index,
        process_count=process_count,
        max_unreadable=math.floor(max_unreadable * source.num_examples),
    )


def eval_batches(
    source: Source, *, batch_size: int, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """Every example once over all processes, in order and without augmentation.

    Batches have the entries of `TrainIterator`, inputs with a second axis of windows where
    `source.eval_windows` says so, and 'mask', float32 [B]: 1 for an example, 0 for
    padding, whose other entries are zeros. All processes give the same number of batches,
    ceil(num_examples / (batch_size * process_count)), some of which may be padding only.

    Args:
      source: the examples.
      batch_size: B, this process's share of a global batch.
      process_index: which process this is.
      process_count: how many there are.

    Raises:
      InputError: a size or process number that cannot be.
      InputError: while iterating, on a file that cannot be decoded; it is named.
    """
    _check(source, batch_size, process_index, process_count)
    return _eval_batches(source, batch_size, process_index, process_count)


def _eval_batches(
    source: Source, batch_size: int, process_index: int, process_count: int
) -> Iterator[Batch]:
    num_batches = -(-source.num_examples // (batch_size * process_count))
    firsts = [
        slots_of_batch(batch, batch_size, process_index, process_count)
        for batch in range(num_batches)
    ]
    parts = [np.arange(f, min(f + batch_size, source.num_examples), dtype=np.int64) for f in firsts]

    dataset = tf.data.Dataset.from_tensor_slices(np.concatenate(parts))
    dataset = dataset.map(
        lambda index: _indexed(source, index, None), num_parallel_calls=tf.data.AUTOTUNE
    )
    spec = dataset.element_spec
    iterator = iter(dataset.batch(batch_size).prefetch(_PREFETCH).with_options(_options()))
    for part in parts:
        padded = {
            name: np.zeros((batch_size, *of_one.shape), of_one.dtype.as_numpy_dtype)
            for name, of_one in spec.items()
        }
        if len(part):
            try:
                batch = next(iterator)
            except tf.errors.OpError as error:
                for _, message in _unreadable(source, [(tf.constant(i), None) for i in part]):
                    raise InputError(f"{message}: replace or remove it") from error
                raise
            for name, value in batch.items():
                padded[name][: len(part)] = value.numpy()
        padded["mask"] = (np.arange(batch_size) < len(part)).astype(np.float32)
        yield padded


def _indexed(source: Source, index: tf.Tensor, seed: tf.Tensor | None) -> Features:
    """The example's features and its number; batches can only be arrays if shapes are static."""
    features = source.example(index, seed) | {"index": tf.cast(index, tf.int32)}
    for name, value in features.items():
        if not value.shape.is_fully_defined():
            raise InputError(f"shape of {name!r} is {value.shape}: set_shape it in the loader")
    return features


def _unpaired(features: Features) -> Features:
    """[B / 2, 2, ...] -> [B, ...]."""
    return {name: tf.reshape(value, [-1, *value.shape[2:]]) for name, value in features.items()}


def _unreadable(source: Source, examples: list) -> Iterator[tuple[int, str]]:
    """Those of the (index, seed) that fail, and why: tf.data does not say which it was."""
    for index, seed in examples:
        try:
            source.example(index, seed)
        except tf.errors.OpError as error:
            reason = tensorflow_reason(error.message)
            yield int(index), f"{source.name(int(index))}, which cannot be read ({reason})"


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    return options


def _check(source: Source, batch_size: int, process_index: int, process_count: int) -> None:
    if source.num_examples < 1:
        raise InputError(f"the source has {source.num_examples} examples: at least 1 is needed")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: give at least 1 for each process")
    if not 0 <= process_index < process_count:
        raise InputError(f"process_index is {process_index} of {process_count}: count from 0")
