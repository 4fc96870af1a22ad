"""A source for tests of streams, and a comparison of batches."""

import itertools

import numpy as np

from perceiver.data.dataset import Source
from perceiver.data.tensorflow_cpu import tf


def noisy_source(num_examples: int) -> Source:
    """Returns a source whose example i is a picture of i + 1, plus noise in training."""

    def example(index, seed):
        image = tf.fill([2, 2, 1], tf.cast(index + 1, tf.float32))
        if seed is not None:
            image += tf.random.stateless_uniform([2, 2, 1], seed)
        return {"image": image, "label": tf.cast(index % 3, tf.int32)}

    return Source(num_examples, example)


def take(iterator, count):
    return list(itertools.islice(iterator, count))


def assert_same_batches(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
