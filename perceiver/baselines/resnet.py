"""Haiku's ResNet on a grid of inputs (He et al., 2016, arXiv:1512.03385).

ResNet-50 is a baseline of Tables 1, 2 and 4. A block that halves the resolution does so in its
3 x 3 convolution, as in the common 'v1.5' variant.
"""

from collections.abc import Sequence

import haiku as hk
import jax

from perceiver.baselines.grid import lay_on_grid
from perceiver.byte_array import ByteArray
from perceiver.errors import InputError

# Side of the initial convolution's kernel: a receptive field of 7 x 7 = 49 inputs (Table 2).
INPUT_KERNEL = 7
# Ratio of output channels to inner channels of a bottleneck block.
BOTTLENECK = 4
# Stride of the first block of each group of blocks.
STRIDES = (1, 2, 2, 2)
# Output channels of the initial convolution.
STEM_CHANNELS = 64


class ResNet(hk.Module):
    """A ResNet of bottleneck blocks, with BatchNorm over the examples of all devices."""

    def __init__(
        self,
        num_classes: int,
        *,
        grid: tuple[int, int],
        blocks: Sequence[int],
        channels: Sequence[int],
        axis: str | None,
        name: str = "resnet",
    ):
        """Sets the network up.

        Args:
          num_classes: number of outputs of the head.
          grid: rows and columns of the inputs.
          blocks: number of blocks in each of the four groups; (3, 4, 6, 3) in ResNet-50.
          channels: output channels of each group; (256, 512, 1024, 2048) in ResNet-50.
          axis: name of the device axis over which batch statistics are averaged in training; None
            for one device.
          name: name of the module.

        Raises:
          InputError: a number of groups other than four, or invalid blocks or channels of a group.
        """
        super().__init__(name=name)
        check_groups(blocks, channels)
        self._num_classes = num_classes
        self._grid = grid
        self._blocks = tuple(blocks)
        self._channels = tuple(channels)
        self._axis = axis

    def __call__(self, inputs: ByteArray, is_training: bool) -> jax.Array:
        """Returns class logits, float32 [B, num_classes].

        The module has state, BatchNorm's moving averages: use `hk.transform_with_state`, and
        initialise with `is_training=True`, because only training creates the averages.

        Args:
          inputs: [B, M, C] in row-major order.
          is_training: True if BatchNorm normalises by the batch and updates its moving averages;
            False if it normalises by the averages. The first training step replaces the averages
            of initialisation.

        Raises:
          InputError: inputs that do not fill the grid, or masked inputs.
        """
        batch_norm: dict[str, str | float | bool] = {"decay_rate": 0.9, "eps": 1e-5}
        if self._axis is not None and not hk.running_init():  # which is not mapped over devices
            batch_norm["cross_replica_axis"] = self._axis
        network = hk.nets.ResNet(
            self._blocks,
            self._num_classes,
            bn_config=batch_norm,
            bottleneck=True,
            channels_per_group=self._channels,
            initial_conv_config={"output_channels": STEM_CHANNELS, "kernel_shape": INPUT_KERNEL},
            logits_config={"name": "head"},  # starts at zero
            strides=STRIDES,
            name="layers",
        )
        return network(lay_on_grid(inputs, self._grid), is_training)


def check_groups(blocks: Sequence[int], channels: Sequence[int]) -> None:
    """Checks the sizes of a ResNet.

    Raises:
      InputError: a number of groups other than four, or invalid blocks or channels of a group.
    """
    for what, sizes in (("blocks", blocks), ("channels", channels)):
        if len(sizes) != len(STRIDES):
            raise InputError(f"{what} is {tuple(sizes)}; give one for each of four groups")
    if min(blocks) < 1:
        raise InputError(f"blocks is {tuple(blocks)}; each must be at least 1")
    if min(channels) < 1 or any(size % BOTTLENECK for size in channels):
        raise InputError(f"channels is {tuple(channels)}; each must be a multiple of {BOTTLENECK}")
