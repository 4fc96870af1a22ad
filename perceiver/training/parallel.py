"""Data parallelism: the one place that knows of `jax.pmap`.

The rest of the code sees host arrays, and a step function that averages over a named axis. Every
device holds the whole model and takes an equal part of the batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from perceiver.errors import InputError

AXIS = "devices"

Tree = Any


class DataParallel:
    """Maps a step over the devices of all processes, and moves arrays to and from this one's."""

    def __init__(self):
        """Takes every device there is."""
        # `jax.pmap` is given no devices: a list of this process's own would leave the others out.
        self._replicate = jax.pmap(lambda _, tree: tree, axis_name=AXIS, in_axes=(0, None))
        self._any = jax.pmap(lambda flag: jax.lax.pmax(flag, AXIS), axis_name=AXIS)

    @property
    def num_devices(self) -> int:
        """Devices of this process."""
        return jax.local_device_count()

    def map(self, step: Callable, *, donate: tuple[int, ...] = ()) -> Callable:
        """Compiles a step for all devices; it averages with `jax.lax.pmean(..., AXIS)`.

        Args:
          step: function of trees whose leaves lack the leading device axis.
          donate: arguments whose memory the step may reuse.
        """
        return jax.pmap(step, axis_name=AXIS, donate_argnums=donate)

    def replicate(self, tree: Tree) -> Tree:
        """Host arrays to every device: leaves gain a leading axis of devices."""
        return self._replicate(np.zeros(self.num_devices), tree)

    def shard(self, batch: Tree) -> Tree:
        """Host arrays [b, ...] of this process to [devices, b / devices, ...].

        Raises:
          InputError: the devices do not divide the batch.
        """

        def split(x):
            if x.shape[0] % self.num_devices:
                raise InputError(
                    f"a batch of {x.shape[0]} is not divisible among {self.num_devices} devices"
                )
            return x.reshape(self.num_devices, -1, *x.shape[1:])

        return jax.tree.map(split, batch)

    def any(self, flag: bool) -> jax.Array:
        """Whether the flag is up in any process, to be read by `first`; all of them call it."""
        return self._any(np.full(self.num_devices, flag))

    def first(self, tree: Tree) -> Tree:
        """The first device's copy of a replicated tree, as host arrays of their own."""
        shards = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)
        # Copied, as on CPU they may be views of memory that the next step reuses.
        return jax.tree.map(lambda x: np.array(x[0]), jax.device_get(shards))
