"""The sizes of a Perceiver, the order of its modules and their weight sharing (Sec. 3.1, App. C).

Tables 5 to 7 vary these values. The model and the cost formulae both read this module, so the order
of modules is defined once.
"""

import dataclasses
import math
from typing import NamedTuple

from perceiver.errors import InputError


class Stage(NamedTuple):
    """A cross-attend and the towers that follow it, as indices of parameter sets."""

    cross_attend: int
    towers: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes of a Perceiver; the defaults are the paper's ImageNet network.

    Attributes:
      num_latents: N, the index dimension of the latent array.
      latent_channels: D, its channel dimension.
      num_cross_attends: number of times the latents attend to the byte array.
      cross_attends_at_start: True if all cross-attends precede the first tower ('at start' in Table
        6); False if they are spread evenly between the towers ('interleaved').
      unrolled: True if each cross-attend attends to its own segment of the inputs: the first to the
        first M / num_cross_attends, and so on. For video, whose first dimension is time, this is
        temporal unrolling (Sec. 4.2).
      num_towers: total number of latent Transformer towers; 0 for cross-attends alone (Table 5).
      self_attends_per_tower: number of layers of a tower.
      cross_heads: number of heads of a cross-attend.
      self_heads: number of heads of a self-attend.
      share_cross_attends: True if all cross-attends after the first share weights. The first never
        shares its weights, because that was unstable (Sec. 4.1).
      share_towers: True if all towers share weights, layer by layer.
      dense_widening: hidden channels of a dense block as a multiple of D; 1 in the paper.
      latent_init_scale: standard deviation of the latents' truncated normal initialiser.

    Raises:
      InputError: a size that is not positive, or a number of heads that does not divide the
        channels.
    """

    num_latents: int = 512
    latent_channels: int = 1024
    num_cross_attends: int = 8
    cross_attends_at_start: bool = False
    unrolled: bool = False
    num_towers: int = 8
    self_attends_per_tower: int = 6
    cross_heads: int = 1
    self_heads: int = 8
    share_cross_attends: bool = True
    share_towers: bool = True
    dense_widening: int = 1
    latent_init_scale: float = 0.02

    def __post_init__(self):
        positive = [
            "num_latents",
            "latent_channels",
            "num_cross_attends",
            "cross_heads",
            "self_heads",
            "dense_widening",
        ]
        if self.num_towers:
            positive.append("self_attends_per_tower")
        for name in positive:
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.num_towers < 0:
            raise InputError(f"num_towers is {self.num_towers}; it must be 0 or more")
        if not 0 < self.latent_init_scale < math.inf:
            raise InputError(f"latent_init_scale is {self.latent_init_scale}; it must be positive")
        if self.latent_channels % self.self_heads:
            raise InputError(
                f"self_heads is {self.self_heads}, which does not divide "
                f"latent_channels, {self.latent_channels}"
            )

    def stages(self) -> tuple[Stage, ...]:
        """Returns the stages of the network in order."""
        crosses, towers = self.num_cross_attends, self.num_towers
        if self.cross_attends_at_start:
            starts = [0] * crosses
        else:
            starts = [i * towers // crosses for i in range(crosses)]
        ends = [*starts[1:], towers]
        return tuple(
            Stage(
                cross_attend=min(i, 1) if self.share_cross_attends else i,
                towers=tuple(0 if self.share_towers else t for t in range(start, end)),
            )
            for i, (start, end) in enumerate(zip(starts, ends, strict=True))
        )

    def num_cross_attend_parameter_sets(self) -> int:
        """Returns the number of cross-attends with separate weights."""
        return (
            min(self.num_cross_attends, 2) if self.share_cross_attends else self.num_cross_attends
        )

    def num_tower_parameter_sets(self) -> int:
        """Returns the number of towers with separate weights."""
        return min(self.num_towers, 1) if self.share_towers else self.num_towers

    def attention_channels(self, input_channels: int) -> int:
        """Returns the channels of a cross-attend's queries, keys and values: min(C, D) (App. C).

        Raises:
          InputError: cross_heads does not divide the channels.
        """
        channels = min(self.latent_channels, input_channels)
        if channels % self.cross_heads:
            raise InputError(
                f"cross_heads is {self.cross_heads}, which does not divide the cross-attends' "
                f"{channels} channels"
            )
        return channels

    def inputs_per_cross_attend(self, num_inputs: int) -> int:
        """Returns the number of inputs, out of M, that one cross-attend attends to.

        Raises:
          InputError: the network is unrolled and num_cross_attends does not divide M.
        """
        if not self.unrolled:
            return num_inputs
        if num_inputs % self.num_cross_attends:
            raise InputError(
                f"num_cross_attends is {self.num_cross_attends}, which does not divide the "
                f"{num_inputs} inputs of an unrolled network"
            )
        return num_inputs // self.num_cross_attends
