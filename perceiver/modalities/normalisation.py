"""Mean and standard deviation taken off on the device, so that batches travel there as bytes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from perceiver.errors import InputError


def normalised(values: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """(values - mean) / std in float32, by channel; of 8-bit values 255 counts as 1.

    Args:
      values: [..., channels], uint8 or floats.
      mean: of each channel, taken off.
      std: of each channel, divided by.

    Raises:
      InputError: other numbers of channels, or a std that is not positive.
    """
    channels = values.shape[-1]
    if {len(mean), len(std)} != {channels} or not all(0 < x < np.inf for x in std):
        raise InputError(
            f"mean {tuple(mean)} and std {tuple(std)} must have {channels} values, one a channel, "
            "and std must be positive"
        )
    unit = 255.0 if values.dtype == jnp.uint8 else 1.0
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    scale, shift = jnp.asarray(1 / (unit * std), jnp.float32), jnp.asarray(mean / std, jnp.float32)
    return values.astype(jnp.float32) * scale - shift
