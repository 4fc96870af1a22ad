"""ResNet on a grid of inputs (He et al., 2016, arXiv:1512.03385), Haiku's own.

ResNet-50 is a baseline of Tables 1, 2 and 4. Where a block halves the resolution, its 3 x 3
convolution does, as is usual since 'v1.5'.
"""

from collections.abc import Sequence

import haiku as hk
import jax

from perceiver.baselines.grid import on_grid
from perceiver.byte_array import ByteArray
from perceiver.errors import InputError

# The sides of the initial convolution: a receptive field of 7 x 7 = 49 inputs (Table 2).
INPUT_KERNEL = 7
# Channels within a bottleneck block are those of its output divided by this.
BOTTLENECK = 4
# The first block of each group of blocks has this stride.
STRIDES = (1, 2, 2, 2)
# Output channels of the initial convolution.
STEM_CHANNELS = 64


class ResNet(hk.Module):
    """A ResNet of bottleneck blocks with BatchNorm over the batches of all devices."""

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
          num_classes: outputs of the head.
          grid: rows and columns of the inputs.
          blocks: of each of the four groups; (3, 4, 6, 3) in ResNet-50.
          channels: outputs of each group; (256, 512, 1024, 2048) in ResNet-50.
          axis: name of the axis of devices that training's batch statistics are taken over, None
            for one device.
          name: of the module.

        Raises:
          InputError: not four groups, or a group whose blocks or channels do not fit.
        """
        super().__init__(name=name)
        check_groups(blocks, channels)
        self._num_classes = num_classes
        self._grid = grid
        self._blocks = tuple(blocks)
        self._channels = tuple(channels)
        self._axis = axis

    def __call__(self, inputs: ByteArray, is_training: bool) -> jax.Array:
        """Class logits, float32 [B, num_classes].

        It has state, BatchNorm's moving averages: use `hk.transform_with_state`, and initialise
        with `is_training=True`, as only training makes them.

        Args:
          inputs: [B, M, C] in row-major order.
          is_training: whether BatchNorm normalises by the batch and moves its averages, or
            normalises by these. Before the first step of training, which replaces them, they are
            those of the inputs that it was initialised with.

        Raises:
          InputError: inputs that do not fill the grid, or masked inputs.
        """
        network = hk.nets.ResNet(
            self._blocks,
            self._num_classes,
            bn_config={
                "decay_rate": 0.9,
                "eps": 1e-5,
                # Nothing is mapped over devices while parameters are made.
                "cross_replica_axis": None if hk.running_init() else self._axis,
            },
            bottleneck=True,
            channels_per_group=self._channels,
            initial_conv_config={"output_channels": STEM_CHANNELS, "kernel_shape": INPUT_KERNEL},
            logits_config={"name": "head"},  # starts at zero
            strides=STRIDES,
            name="layers",
        )
        return network(on_grid(inputs, self._grid), is_training)


def check_groups(blocks: Sequence[int], channels: Sequence[int]) -> None:
    """Makes sure that these are the sizes of a ResNet.

    Raises:
      InputError: not four groups, or a group whose blocks or channels do not fit.
    """
    for what, sizes in (("blocks", blocks), ("channels", channels)):
        if len(sizes) != len(STRIDES):
            raise InputError(f"{what} is {tuple(sizes)}; give one for each of four groups")
    if min(blocks) < 1:
        raise InputError(f"blocks is {tuple(blocks)}; each must be at least 1")
    if min(channels) < 1 or any(size % BOTTLENECK for size in channels):
        raise InputError(f"channels is {tuple(channels)}; each must be a multiple of {BOTTLENECK}")
