"""Parameters and FLOPs of a Perceiver by formula, part by part (Tables 5 to 7).

FLOPs are those of one forward pass for one example: 2 for each multiply-accumulate of every matrix
product (App. B, 'multiplies and accumulates counted as separate operations') and 3 for each
attention logit, the softmax. They are the network's, not the program's: keys and values of a shared
cross-attend count each time it is applied, although they are computed once.
"""

from typing import NamedTuple

from perceiver.architecture import Architecture

SOFTMAX_FLOPS = 3


class Cost(NamedTuple):
    """Of one part of a network.

    Attributes:
      part: what it is.
      parameters: all of its weights, those of shared modules once.
      flops: all of its forward FLOPs for one example.
      applied: how many blocks of this part a forward pass goes through.
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
    """Parameters and FLOPs of each part of a Perceiver.

    Args:
      architecture: its sizes.
      num_inputs: M.
      input_channels: C, content and positions together.
      num_classes: outputs of the head.

    Returns:
      The costs of latents, cross-attends, self-attends and head. What the inputs learn, such as
      positions or the encodings of fused modalities, comes on top.
    """
    latents, channels = architecture.num_latents, architecture.latent_channels
    inner = architecture.attention_channels(input_channels)
    seen = architecture.inputs_of_a_cross_attend(num_inputs)
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
        + 2 * 2 * seen * input_channels * inner  # keys and values
        + _attention_flops(latents, seen, inner, architecture.cross_heads)
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
    """The sum over all parts."""
    return Cost(
        "total",
        sum(cost.parameters for cost in costs),
        sum(cost.flops for cost in costs),
        sum(cost.applied for cost in costs),
    )


def self_attend_cost(num_inputs: int, channels: int, heads: int, widening: int) -> tuple[int, int]:
    """Parameters and FLOPs of one self-attend with its dense block.

    Args:
      num_inputs: vectors that attend to each other, N in a Perceiver.
      channels: of each vector.
      heads: of the attention.
      widening: hidden channels of the dense block in multiples of `channels`.
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
    """Weights and biases of a linear layer."""
    return inputs * outputs + outputs


def layer_norm_parameters(channels: int) -> int:
    """Scale and offset."""
    return 2 * channels


def _dense_cost(num_inputs: int, channels: int, widening: int) -> tuple[int, int]:
    """Parameters and FLOPs of a dense block."""
    hidden = widening * channels
    parameters = (
        layer_norm_parameters(channels)
        + linear_parameters(channels, hidden)
        + linear_parameters(hidden, channels)
    )
    return parameters, 2 * 2 * num_inputs * channels * hidden


def _attention_flops(queries: int, keys: int, channels: int, heads: int) -> int:
    """Logits, softmax and weighted sum."""
    return 2 * 2 * queries * keys * channels + SOFTMAX_FLOPS * heads * queries * keys
