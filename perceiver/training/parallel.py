"""Data parallelism with `jax.pmap`, which no other module uses.

Other code works with host arrays, and with step functions that average over a named axis. Every
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
    """Maps a step over the devices of all processes, and moves arrays to and from local devices."""

    def __init__(self):
        """Uses all devices of all processes."""
        # `jax.pmap` gets no list of devices: a list of the local ones would exclude others.
        self._replicate = jax.pmap(lambda _, tree: tree, axis_name=AXIS, in_axes=(0, None))
        self._any = jax.pmap(lambda flag: jax.lax.pmax(flag, AXIS), axis_name=AXIS)

    @property
    def num_devices(self) -> int:
        """The number of devices of this process."""
        return jax.local_device_count()

    def map(self, step: Callable, *, donate: tuple[int, ...] = ()) -> Callable:
        """Compiles a step for all devices; the step averages with `jax.lax.pmean(..., AXIS)`.

        Args:
          step: function of trees whose leaves lack the leading device axis.
          donate: indices of the arguments whose memory the step may reuse.
        """
        return jax.pmap(step, axis_name=AXIS, donate_argnums=donate)

    def replicate(self, tree: Tree) -> Tree:
        """Copies host arrays to every device; leaves gain a leading device axis."""
        return self._replicate(np.zeros(self.num_devices), tree)

    def shard(self, batch: Tree) -> Tree:
        """Splits host arrays [b, ...] of this process into [devices, b / devices, ...].

        Raises:
          InputError: the batch is not divisible by the number of devices.
        """

        def split(x):
            if x.shape[0] % self.num_devices:
                raise InputError(
                    f"a batch of {x.shape[0]} is not divisible among {self.num_devices} devices"
                )
            return x.reshape(self.num_devices, -1, *x.shape[1:])

        return jax.tree.map(split, batch)

    def any(self, flag: bool) -> jax.Array:
        """Returns whether any process has the flag, for `first`; all processes must call it."""
        return self._any(np.full(self.num_devices, flag))

    def first(self, tree: Tree) -> Tree:
        """Returns the copy of a replicated tree on the first device, as new host arrays."""
        shards = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)
        # Copied, because on CPU they may be views of memory that the next step reuses.
        return jax.tree.map(lambda x: np.array(x[0]), jax.device_get(shards))
