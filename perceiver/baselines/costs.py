"""Formulae for the parameters and FLOPs of the baselines, counted as in `perceiver.costs`.

A convolution counts 2 FLOPs per multiply-accumulate, including those with padding, like published
figures. BatchNorm, LayerNorm, GELU, ReLU and pooling count none.
"""

from collections.abc import Sequence

from perceiver.baselines.grid import strided_shape
from perceiver.baselines.resnet import (
    BOTTLENECK,
    INPUT_KERNEL,
    STEM_CHANNELS,
    STRIDES,
    check_groups,
)
from perceiver.costs import Cost, layer_norm_parameters, linear_parameters, self_attend_cost


def resnet_costs(
    *,
    grid: tuple[int, int],
    input_channels: int,
    num_classes: int,
    blocks: Sequence[int],
    channels: Sequence[int],
) -> list[Cost]:
    """Returns the costs of a ResNet; BatchNorm's moving averages are not parameters.

    Args:
      grid: rows and columns of the inputs.
      input_channels: number of channels C of content and positions together.
      num_classes: number of outputs of the head.
      blocks: number of blocks in each of the four groups.
      channels: output channels of each group.

    Returns:
      The costs of the initial convolution, each group of blocks and the head.

    Raises:
      InputError: invalid sizes (see `check_groups`).
    """
    check_groups(blocks, channels)
    grid = strided_shape(grid, 2)
    costs = [
        Cost("initial convolution", *_conv(grid, INPUT_KERNEL, input_channels, STEM_CHANNELS), 1)
    ]
    grid, inputs = strided_shape(grid, 2), STEM_CHANNELS  # max pooling
    for i, (count, outputs, stride) in enumerate(zip(blocks, channels, STRIDES, strict=True)):
        inner = outputs // BOTTLENECK
        before, grid = grid, strided_shape(grid, stride)
        convs = [_conv(grid, 1, inputs, outputs)]  # the shortcut
        for block in range(count):
            first = block == 0
            convs += [
                _conv(before if first else grid, 1, inputs if first else outputs, inner),
                _conv(grid, 3, inner, inner),
                _conv(grid, 1, inner, outputs),
            ]
        parameters, flops = map(sum, zip(*convs, strict=True))
        costs.append(Cost(f"block group {i}", parameters, flops, count))
        inputs = outputs
    return [*costs, _head(inputs, num_classes)]


def vit_costs(
    *,
    grid: tuple[int, int],
    input_channels: int,
    num_classes: int,
    patch: int,
    channels: int,
    layers: int,
    heads: int,
    widening: int,
) -> list[Cost]:
    """Returns the costs of a ViT.

    Args:
      grid: rows and columns of the inputs.
      input_channels: number of channels C of content and positions together.
      num_classes: number of outputs of the head.
      patch: side of a patch.
      channels: number of channels D.
      layers: number of self-attends.
      heads: number of heads of each self-attend.
      widening: hidden channels of the dense blocks as a multiple of D.

    Returns:
      The costs of the patch layer, class token and position embedding, self-attends, final
      LayerNorm and head.
    """
    rows, columns = strided_shape(grid, patch)
    patches = rows * columns
    patch_inputs = patch * patch * input_channels
    return [
        Cost(
            "patches",
            linear_parameters(patch_inputs, channels),
            2 * patches * patch_inputs * channels,
            1,
        ),
        Cost("class token", channels, 0, 1),
        Cost("position embedding", (1 + patches) * channels, 0, 1),
        _self_attends(1 + patches, channels, layers, heads, widening),
        Cost("final LayerNorm", layer_norm_parameters(channels), 0, 1),
        _head(channels, num_classes),
    ]


def transformer_costs(
    *,
    num_inputs: int,
    input_channels: int,
    num_classes: int,
    channels: int,
    layers: int,
    heads: int,
    widening: int,
) -> list[Cost]:
    """Returns the costs of a Transformer.

    Args:
      num_inputs: number of inputs M.
      input_channels: number of channels C of content and positions together.
      num_classes: number of outputs of the head.
      channels: number of channels D.
      layers: number of self-attends.
      heads: number of heads of each self-attend.
      widening: hidden channels of the dense blocks as a multiple of D.

    Returns:
      The costs of the first linear layer, self-attends and head.
    """
    return [
        Cost(
            "embedding",
            linear_parameters(input_channels, channels),
            2 * num_inputs * input_channels * channels,
            1,
        ),
        _self_attends(num_inputs, channels, layers, heads, widening),
        _head(channels, num_classes),
    ]


def _conv(grid: tuple[int, int], kernel: int, inputs: int, outputs: int) -> tuple[int, int]:
    """Returns the parameters and FLOPs of a convolution without bias, and of its BatchNorm.

    Args:
      grid: rows and columns of the output.
      kernel: side of the kernel.
      inputs: number of input channels.
      outputs: number of output channels.
    """
    weights = kernel * kernel * inputs * outputs
    rows, columns = grid
    return weights + 2 * outputs, 2 * rows * columns * weights


def _self_attends(num_inputs: int, channels: int, layers: int, heads: int, widening: int) -> Cost:
    parameters, flops = self_attend_cost(num_inputs, channels, heads, widening)
    return Cost("self-attends", layers * parameters, layers * flops, layers)


def _head(channels: int, num_classes: int) -> Cost:
    return Cost("head", linear_parameters(channels, num_classes), 2 * channels * num_classes, 1)
