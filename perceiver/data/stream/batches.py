"""Batches for training (endless and checkpointable) and for evaluation (each example once).

Every process of a run requests its part of each global batch. `perceiver.data.stream.order` decides
which example a slot of the training stream shows; this module cuts the stream into batches.
Programs call it through the methods of `perceiver.data.dataset.Source`.
"""

import math
import sys
from collections.abc import Iterator

import numpy as np

from perceiver.data.dataset import Batch, Features, Source
from perceiver.data.errors import tensorflow_reason
from perceiver.data.stream import position
from perceiver.data.stream.order import example_of_slot, first_slot, seed_of_pair
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Number of batches computed in advance, fixed to limit the memory: a batch of 1024 pictures of
# 224 x 224 takes 0.6 GB.
_PREFETCH = 2


class TrainIterator:
    """Endless training batches with a position in the stream that can be saved and restored.

    A batch has the features of `Source` with a leading axis B, and 'index', int32 [B], the index of
    each example in its data set.

    An unreadable example is skipped with a warning that names it. The next readable example in the
    order of the data set takes its place, so the stream is still a function of the seed and of the
    files. After more than `max_unreadable` such examples an InputError names the last one.
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
        """Builds the pipeline; see `Source.train_batches` for the arguments."""
        self._source = source
        self._batch_size = batch_size
        self._seed = seed
        self._process = (process_index, process_count)
        self._max_unreadable = max_unreadable
        self._unreadable: list[int] = []
        self._retried: int | None = None
        self._seek(0)

    def __iter__(self) -> "TrainIterator":
        return self

    def __next__(self) -> Batch:
        while True:
            try:
                batch = next(self._iterator)
            except tf.errors.OpError as error:
                self._skip_unreadable(error)
                continue
            self._batches += 1
            return {name: value.numpy() for name, value in batch.items()}

    def state(self) -> bytes:
        """Returns the position after the batches taken so far, in a few hundred bytes.

        Prefetched batches that were not taken do not count. All processes have the same position,
        so the state of one process fits all of them, and any other number of processes with the
        same global batch size.
        """
        return position.pack(self._batches, self._stream())

    def restore(self, state: bytes) -> None:
        """Moves to the position in `state`, from any current position.

        Raises:
          InputError: the state is damaged, or comes from a stream with another seed, global batch
            size or number of examples. The iterator then keeps its position.
        """
        self._seek(position.unpack(state, self._stream()))

    def _stream(self) -> dict[str, int]:
        return {
            "num_examples": self._source.num_examples,
            "seed": self._seed,
            "batch_size": self._batch_size * self._process[1],
        }

    def _seek(self, batches: int) -> None:
        """Moves to batch number `batches`."""
        self._batches = batches
        self._iterator = iter(self._build(batches))

    def _skip_unreadable(self, error: tf.errors.OpError) -> None:
        """Finds the unreadable examples of the failed batch and rebuilds it without them."""
        first = first_slot(self._batches, self._batch_size, *self._process)
        slots = tf.range(first, first + self._batch_size, dtype=tf.int64)
        found = dict(_unreadable(self._source, [self._example_of(slot) for slot in slots]))
        if not found and self._retried == self._batches:
            raise error
        self._retried = self._batches  # a disk may fail only once
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
        self._seek(self._batches)

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
            first = first_slot(count // self._batch_size, self._batch_size, *self._process)
            return _indexed(self._source, *self._example_of(first + count % self._batch_size))

        # A function of the count selects the examples instead of a shuffle buffer, so the position
        # in the stream is a number, and the order of an epoch takes no memory.
        counts = tf.data.Dataset.range(batches * self._batch_size, np.iinfo(np.int64).max)
        dataset = counts.map(example, num_parallel_calls=tf.data.AUTOTUNE)
        if mix_pair := self._source.mix_pair:

            def pair(count: tf.Tensor, features: Features) -> Features:
                first = first_slot(count // self._batch_size, self._batch_size, *self._process)
                return mix_pair(
                    features, seed_of_pair(first + count % self._batch_size, self._seed)
                )

            # Pairs are neighbours in the stream, so they do not depend on the number of processes.
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
    """Returns endless shuffled and augmented batches; see `Source.train_batches`."""
    _check(source, batch_size, process_index, process_count)
    if not 0 <= max_unreadable < 1:
        raise InputError(f"max_unreadable is {max_unreadable}: give a fraction from 0 to below 1")
    if source.mix_pair and batch_size % 2:
        raise InputError(
            f"batch_size is {batch_size} a process: make it even, as examples are mixed in pairs"
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
    """Returns batches that show every example once, in order; see `Source.eval_batches`."""
    _check(source, batch_size, process_index, process_count)
    return _eval_batches(source, batch_size, process_index, process_count)


def _eval_batches(
    source: Source, batch_size: int, process_index: int, process_count: int
) -> Iterator[Batch]:
    num_batches = -(-source.num_examples // (batch_size * process_count))
    firsts = [
        first_slot(batch, batch_size, process_index, process_count) for batch in range(num_batches)
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
            name: np.zeros((batch_size, *feature.shape), feature.dtype.as_numpy_dtype)
            for name, feature in spec.items()
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
    """Returns the features and the index of an example; raises an error if a shape varies."""
    features = source.example(index, seed) | {"index": tf.cast(index, tf.int32)}
    for name, value in features.items():
        if not value.shape.is_fully_defined():
            # AutoGraph preserves the type of a ValueError, but not that of an InputError.
            raise ValueError(f"shape of {name!r} is {value.shape}: make it static in the loader")
    return features


def _unpaired(features: Features) -> Features:
    """Reshapes features [B / 2, 2, ...] to [B, ...]."""
    return {name: tf.reshape(value, [-1, *value.shape[2:]]) for name, value in features.items()}


def _unreadable(source: Source, examples: list) -> Iterator[tuple[int, str]]:
    """Yields (index, message) of the unreadable examples, which tf.data does not name."""
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
        raise InputError(f"the source has {source.num_examples} examples: give at least 1")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: give at least 1 for each process")
    if not 0 <= process_index < process_count:
        raise InputError(
            f"process_index is {process_index} of {process_count}: give one below {process_count}"
        )
