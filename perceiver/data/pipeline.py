"""Batches for training, endless and checkpointable, and for evaluation, each example once.

Every process of a run asks for its own share of each global batch. What a place in the training
stream shows is decided in `perceiver.data.order`; here is how the stream is cut into batches.
"""

import re
from collections.abc import Iterator

import numpy as np

from perceiver.data import iterator_state
from perceiver.data.errors import DataError
from perceiver.data.order import example_of_slot, slots_of_batch
from perceiver.data.source import Source
from perceiver.data.tensorflow_cpu import tf

# Batches made ahead. A fixed number bounds the memory: a batch of 1024 pictures of 224 x 224
# takes 0.6 GB.
_PREFETCH = 2

Batch = dict[str, np.ndarray]


class TrainIterator:
    """Endless training batches, whose place in the stream can be saved and found again.

    `next` gives 'image', float32 [B, H, W, C], or 'points', float32 [B, M, 3], with 'label',
    int32 [B], and 'index', int32 [B], the number of each example in its data set. A file that
    cannot be decoded raises a DataError that names it.
    """

    def __init__(
        self, source: Source, *, batch_size: int, seed: int, process_index: int, process_count: int
    ):
        """Builds the pipeline; see `train_iterator` for the arguments."""
        self._source = source
        self._batch_size = batch_size
        self._seed = seed
        self._process = (process_index, process_count)
        self._batches = 0
        self._dataset = self._build()
        self._iterator = iter(self._dataset)

    def __iter__(self) -> "TrainIterator":
        return self

    def __next__(self) -> Batch:
        try:
            batch = next(self._iterator)
        except tf.errors.OpError:
            first = slots_of_batch(self._batches, self._batch_size, *self._process)
            slots = tf.range(first, first + self._batch_size, dtype=tf.int64)
            _raise_for_unreadable(self._source, [self._example_of(slot) for slot in slots])
            raise
        self._batches += 1
        return {name: value.numpy() for name, value in batch.items()}

    def state(self) -> bytes:
        """All that is needed to go on after the batches taken so far, in a few kilobytes.

        Batches made ahead but not taken do not count. Processes go in step, so the state that one
        of them saves fits them all.
        """
        return iterator_state.pack(self._iterator, self._header() | {"batches": self._batches})

    def restore(self, state: bytes) -> None:
        """Goes to the place where `state` was saved, whatever was taken here before.

        Raises:
          DataError: the state is damaged, or comes from a stream with another seed, batch size,
            number of processes or number of examples. The iterator is then as it was.
        """
        iterator = iter(self._dataset)
        saved = iterator_state.restore(state, iterator, self._header())
        self._iterator, self._batches = iterator, saved["batches"]

    def _header(self) -> dict[str, int]:
        return {
            "num_examples": self._source.num_examples,
            "seed": self._seed,
            "batch_size": self._batch_size,
            "process_count": self._process[1],
        }

    def _example_of(self, slot: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return example_of_slot(slot, self._source.num_examples, self._seed)

    def _build(self) -> tf.data.Dataset:
        def example(count: tf.Tensor) -> dict[str, tf.Tensor]:
            first = slots_of_batch(count // self._batch_size, self._batch_size, *self._process)
            return _indexed(self._source, *self._example_of(first + count % self._batch_size))

        # The iterator's state is its counter. A captured function of it, not a shuffle buffer,
        # picks the examples: the state stays small and an epoch's order needs no memory.
        dataset = tf.data.Dataset.range(np.iinfo(np.int64).max)
        dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)
        dataset = dataset.batch(self._batch_size, drop_remainder=True)
        return dataset.prefetch(_PREFETCH).with_options(_options())


def train_iterator(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
) -> TrainIterator:
    """Endless shuffled and augmented batches.

    Slot s of the stream belongs to epoch s // num_examples, and each epoch shows every example
    exactly once in an order of its own; a batch may span two epochs and no example is dropped.
    Global batch b takes slots [b G, (b + 1) G) with G = batch_size * process_count, of which
    process p takes the p-th contiguous part: the examples consumed, and their augmentation, do
    not depend on the number of processes.

    Args:
      source: the examples.
      batch_size: B, this process's share of a global batch.
      seed: decides the order and the augmentation; any 64-bit integer.
      process_index: p, which process this is.
      process_count: how many there are.

    Raises:
      ValueError: a size or process number that cannot be.
    """
    _check(source, batch_size, process_index, process_count)
    return TrainIterator(
        source,
        batch_size=batch_size,
        seed=seed,
        process_index=process_index,
        process_count=process_count,
    )


def eval_batches(
    source: Source, *, batch_size: int, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """Every example once over all processes, in order and without augmentation.

    Batches have the entries of `TrainIterator` and 'mask', float32 [B]: 1 for an example, 0 for
    padding, whose other entries are zeros. All processes give the same number of batches,
    ceil(num_examples / (batch_size * process_count)), some of which may be padding only.

    Args:
      source: the examples.
      batch_size: B, this process's share of a global batch.
      process_index: which process this is.
      process_count: how many there are.

    Raises:
      ValueError: a size or process number that cannot be.
      DataError: while iterating, on a file that cannot be decoded; it is named.
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
            except tf.errors.OpError:
                _raise_for_unreadable(source, [(tf.constant(index), None) for index in part])
                raise
            for name, value in batch.items():
                padded[name][: len(part)] = value.numpy()
        padded["mask"] = (np.arange(batch_size) < len(part)).astype(np.float32)
        yield padded


def _indexed(source: Source, index: tf.Tensor, seed: tf.Tensor | None) -> dict[str, tf.Tensor]:
    """The example's features and its number; batches can only be arrays if shapes are static."""
    features = source.example(index, seed) | {"index": tf.cast(index, tf.int32)}
    for name, value in features.items():
        if not value.shape.is_fully_defined():
            raise ValueError(f"shape of {name!r} is {value.shape}: set_shape it in the loader")
    return features


def _raise_for_unreadable(source: Source, examples: list) -> None:
    """Raises a DataError for the first (index, seed) that fails: tf.data does not say which."""
    for index, seed in examples:
        try:
            source.example(index, seed)
        except tf.errors.OpError as error:
            reason = re.sub(r"\{\{.*?\}\}", "", error.message).strip().splitlines()[0]
            name = source.name(int(index))
            raise DataError(f"{name}: cannot be read ({reason}): replace or remove it") from error


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # Saves the counter in place of the contents of the buffers, which hold decoded pictures.
    options.experimental_symbolic_checkpoint = True
    return options


def _check(source: Source, batch_size: int, process_index: int, process_count: int) -> None:
    if source.num_examples < 1:
        raise ValueError(f"the source has {source.num_examples} examples: at least 1 is needed")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: give at least 1 for each process")
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index is {process_index} of {process_count}: count from 0")
