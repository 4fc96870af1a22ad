"""Which example a place in the training stream shows, and the seed of its augmentation.

The stream is one endless row of slots 0, 1, 2, ... shared by all processes. Slot s belongs to
epoch s // n and every epoch is a permutation of all n examples. Both answers are functions of
(seed, slot), so a run that is stopped and resumed, or spread over more processes, sees the same
examples with the same augmentation.
"""

from perceiver.data.tensorflow_cpu import tf

# Second words of the root seeds, which keep the streams of random numbers apart.
_ORDER = 0
_AUGMENTATION = 1
_PAIRS = 2

# index_shuffle is a light cipher. One pass of it knows about 2 ** 16 orders, however long the seed,
# and leaves those of different epochs correlated (for n = 65,536 their coefficients spread by 0.4,
# where independent permutations give 0.004). Three passes with seeds of their own behave as
# independent permutations do.
_PASSES = 3

_fold_in = tf.random.experimental.stateless_fold_in


def slots_of_batch(batch, batch_size: int, process_index: int, process_count: int):
    """First slot of this process's part of global batch `batch`; the part is contiguous."""
    return batch * (batch_size * process_count) + process_index * batch_size


def example_of_slot(slot: tf.Tensor, num_examples: int, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The example that a slot shows and the seed of its augmentation.

    Args:
      slot: place in the stream, int64 [].
      num_examples: n, the size of the data set.
      seed: seed of the run; any 64-bit integer with a sign.

    Returns:
      The example's index, int64 [] in [0, n), and the augmentation seed, int32 [2], a function of
      (seed, epoch, index).
    """
    epoch = tf.cast(slot // num_examples, tf.int32)
    index = slot % num_examples
    of_order = _fold_in(tf.constant([seed, _ORDER], tf.int64), epoch)
    pass_seeds = tf.random.stateless_uniform(
        [_PASSES, 2], of_order, minval=None, maxval=None, dtype=tf.int32
    )
    for pass_seed in tf.unstack(pass_seeds):
        index = tf.random.experimental.index_shuffle(
            index, seed=pass_seed, max_index=tf.constant(num_examples - 1, tf.int64)
        )
    of_epoch = _fold_in(tf.constant([seed, _AUGMENTATION], tf.int64), epoch)
    return index, _fold_in(of_epoch, tf.cast(index, tf.int32))


def seed_of_pair(slot: tf.Tensor, seed: int) -> tf.Tensor:
    """The seed of what is done to slots `slot` and `slot + 1` together, int32 [2]."""
    root = tf.constant([seed, _PAIRS], tf.int64)
    high, low = slot // 2**31, slot % 2**31  # a run may have more slots than an int32 can count
    return _fold_in(_fold_in(root, tf.cast(high, tf.int32)), tf.cast(low, tf.int32))
