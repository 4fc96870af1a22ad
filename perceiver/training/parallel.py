"""Data parallelism: the one place that knows of `jax.pmap`.

The rest of the code sees host arrays, and a step function that averages over a named axis. Every
device holds the whole model and takes an equal part of the batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

AXIS = "devices"

Tree = Any


class DataParallel:
    """Maps a step over this process's devices, and moves arrays to and from them."""

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        """Takes the local devices to use; all of them by default."""
        self._devices = list(devices) if devices is not None else jax.local_devices()
        self._replicate = jax.pmap(
            lambda _, tree: tree, axis_name=AXIS, in_axes=(0, None), devices=self._devices
        )

    @property
    def num_devices(self) -> int:
        """Devices of this process."""
        return len(self._devices)

    def map(self, step: Callable, *, donate: tuple[int, ...] = ()) -> Callable:
        """Compiles a step for all devices; it averages with `jax.lax.pmean(..., AXIS)`.

        Args:
          step: function of trees whose leaves lack the leading device axis.
          donate: arguments whose memory the step may reuse.
        """
        return jax.pmap(step, axis_name=AXIS, devices=self._devices, donate_argnums=donate)

    def replicate(self, tree: Tree) -> Tree:
        """Host arrays to every device: leaves gain a leading axis of devices."""
        return self._replicate(np.zeros(self.num_devices), tree)

    def shard(self, batch: Tree) -> Tree:
        """Host arrays [b, ...] of this process to [devices, b / devices, ...].

        Raises:
          ValueError: the devices do not divide the batch.
        """

        def split(x):
            if x.shape[0] % self.num_devices:
                raise ValueError(
                    f"a batch of {x.shape[0]} is not divisible among {self.num_devices} devices"
                )
            return x.reshape(self.num_devices, -1, *x.shape[1:])

        return jax.tree.map(split, batch)

    def first(self, tree: Tree) -> Tree:
        """The first device's copy of a replicated tree, as host arrays."""
        shards = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)
        return jax.tree.map(lambda x: x[0], jax.device_get(shards))
