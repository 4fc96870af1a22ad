"""A held-out part of the training split, to choose by, so that the test split is for reporting."""

import dataclasses

import numpy as np

from perceiver.data.source import Dataset, Source
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError


def hold_out(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Moves a share of the training examples, drawn at random, to `held_out`.

    Args:
      dataset: with all training examples in `train`.
      fraction: share to hold out, from 0, which changes nothing, to below 1.
      seed: decides which, from 0 to below 2 ** 32.

    Raises:
      InputError: a fraction or seed out of range, or a fraction that holds out none or all.
    """
    if not fraction:
        return dataset
    if not 0 < fraction < 1:
        raise InputError(f"held_out is {fraction}: give a share from 0 to below 1")
    if not 0 <= seed < 2**32:
        raise InputError(f"held_out_seed is {seed}: give a whole number from 0 to below 2 ** 32")
    total = dataset.train.num_examples
    count = round(fraction * total)
    if not 0 < count < total:
        raise InputError(
            f"held_out is {fraction}, which is {count:,} of {total:,} training examples: at least "
            "one must be held out and one left"
        )
    # The legacy generator's stream is frozen: the same examples are held out in years to come.
    order = np.random.RandomState(seed).permutation(total)
    held_out, left = np.sort(order[:count]), np.sort(order[count:])
    windows = dataset.eval.eval_windows
    return dataclasses.replace(
        dataset,
        train=_part(dataset.train, left),
        held_out=dataclasses.replace(_part(dataset.train, held_out), eval_windows=windows),
    )


def _part(source: Source, chosen: np.ndarray) -> Source:
    indices = tf.constant(chosen, tf.int64)
    return dataclasses.replace(
        source,
        num_examples=len(chosen),
        example=lambda index, seed: source.example(tf.gather(indices, index), seed),
        name=lambda index: source.name(int(chosen[index])),
    )
