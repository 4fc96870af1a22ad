"""Formulae for the parameters and FLOPs of each part of a Perceiver (Tables 5 to 7).

FLOPs are those of one forward pass for one example: 2 per multiply-accumulate of every matrix
product (App. B, 'multiplies and accumulates counted as separate operations') and 3 per attention
logit for the softmax. They describe the network, not the program: the keys and values of a shared
cross-attend count for every application, although the program computes them once.
"""

from typing import NamedTuple

from perceiver.architecture import Architecture

SOFTMAX_FLOPS = 3


class Cost(NamedTuple):
    """The cost of one part of a network.

    Attributes:
      part: name of the part.
      parameters: number of weights; the weights of shared modules count once.
      flops: forward FLOPs for one example.
      applied: number of blocks of this part that a forward pass applies.
    """

    part: str
    parameters: int
    flops: int
    applied: int


def perceiver_costs(
    architecture: Architecture,
    *,
    num_inputs: int,
    input_channels: int,
    num_classes: int,
) -> list[Cost]:
    """Returns the parameters and FLOPs of each part of a Perceiver.

    Args:
      architecture: sizes of the network.
      num_inputs: number of inputs M.
      input_channels: number of channels C of content and positions together.
      num_classes: number of outputs of the head.

    Returns:
      The costs of latents, cross-attends, self-attends and head, without the parameters of the
      inputs: learned positions and modality encodings.
    """
    latents, channels = architecture.num_latents, architecture.latent_channels
    inner = architecture.attention_channels(input_channels)
    attended = architecture.inputs_per_cross_attend(num_inputs)
    crosses = architecture.num_cross_attends
    selfs = architecture.num_towers * architecture.self_attends_per_tower
    cross_sets = architecture.num_cross_attend_parameter_sets()
    self_sets = architecture.num_tower_parameter_sets() * architecture.self_attends_per_tower

    dense_parameters, dense_flops = _dense_cost(latents, channels, architecture.dense_widening)
    cross_parameters = (
        layer_norm_parameters(channels)
        + layer_norm_parameters(input_channels)
        + linear_parameters(channels, inner)
        + 2 * linear_parameters(input_channels, inner)
        + linear_parameters(inner, channels)
        + dense_parameters
    )
    cross_flops = (
        2 * 2 * latents * channels * inner  # queries and output
        + 2 * 2 * attended * input_channels * inner  # keys and values
        + _attention_flops(latents, attended, inner, architecture.cross_heads)
        + dense_flops
    )
    self_parameters, self_flops = self_attend_cost(
        latents, channels, architecture.self_heads, architecture.dense_widening
    )
    return [
        Cost("latents", latents * channels, 0, 1),
        Cost("cross-attends", cross_sets * cross_parameters, crosses * cross_flops, crosses),
        Cost("self-attends", self_sets * self_parameters, selfs * self_flops, selfs),
        Cost("head", linear_parameters(channels, num_classes), 2 * channels * num_classes, 1),
    ]


def total(costs: list[Cost]) -> Cost:
    """Returns the sum over all parts."""
    return Cost(
        "total",
        sum(cost.parameters for cost in costs),
        sum(cost.flops for cost in costs),
        sum(cost.applied for cost in costs),
    )


def self_attend_cost(num_inputs: int, channels: int, heads: int, widening: int) -> tuple[int, int]:
    """Returns the parameters and FLOPs of one self-attend with its dense block.

    Args:
      num_inputs: number of vectors that attend to each other; N in a Perceiver.
      channels: number of channels of each vector.
      heads: number of attention heads.
      widening: hidden channels of the dense block as a multiple of `channels`.
    """
    dense_parameters, dense_flops = _dense_cost(num_inputs, channels, widening)
    parameters = (
        layer_norm_parameters(channels)
        + 4 * linear_parameters(channels, channels)
        + dense_parameters
    )
    flops = (
        4 * 2 * num_inputs * channels * channels  # queries, keys, values and output
        + _attention_flops(num_inputs, num_inputs, channels, heads)
        + dense_flops
    )
    return parameters, flops


def linear_parameters(inputs: int, outputs: int) -> int:
    """Returns the number of weights and biases of a linear layer."""
    return inputs * outputs + outputs


def layer_norm_parameters(channels: int) -> int:
    """Returns the number of parameters of a LayerNorm: scale and offset."""
    return 2 * channels


def _dense_cost(num_inputs: int, channels: int, widening: int) -> tuple[int, int]:
    """Returns the parameters and FLOPs of a dense block."""
    hidden = widening * channels
    parameters = (
        layer_norm_parameters(channels)
        + linear_parameters(channels, hidden)
        + linear_parameters(hidden, channels)
    )
    return parameters, 2 * 2 * num_inputs * channels * hidden


def _attention_flops(queries: int, keys: int, channels: int, heads: int) -> int:
    """Returns the FLOPs of logits, softmax and weighted sum."""
    return 2 * 2 * queries * keys * channels + SOFTMAX_FLOPS * heads * queries * keys
