"""The Perceiver: latents that attend to a byte array, tower by tower (Sec. 3.1, Fig. 1)."""

import itertools
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import TypeVar

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.architecture import Architecture
from perceiver.blocks import CrossAttend, Linear, Tower
from perceiver.byte_array import ByteArray, concatenate_parts
from perceiver.names import look_up

# What is computed again in the backward pass: nothing, or each block.
REMAT = {"none": False, "block": True}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class Perceiver(hk.Module):
    """A Perceiver classifier.

    What repeats is a loop: runs of the same shared stage (a cross-attend and its towers), runs of
    the same tower, and the layers of a tower.
    """

    def __init__(
        self,
        architecture: Architecture,
        num_classes: int,
        *,
        dtype: str = "float32",
        remat: str = "none",
        name: str = "perceiver",
    ):
        """Sets the network up.

        Args:
          architecture: its sizes.
          num_classes: outputs of the head.
          dtype: 'float32' or 'bfloat16', in which activations are kept and products computed.
            Parameters, LayerNorm statistics, softmax and head stay float32.
          remat: 'none', or 'block' to compute each cross-attend and self-attend again in the
            backward pass instead of keeping what is inside it.
          name: of the module.

        Raises:
          ValueError: another dtype or remat.
        """
        super().__init__(name=name)
        self._architecture = architecture
        self._num_classes = num_classes
        self._dtype = look_up(DTYPES, dtype, what="dtype")
        self._remat = look_up(REMAT, remat, what="remat")

    def __call__(self, inputs: ByteArray | Sequence[ByteArray]) -> jax.Array:
        """Class logits, float32 [B, num_classes]: the mean over latents, then one linear layer.

        Args:
          inputs: the byte array of a batch, or several, equally wide, of fused modalities.
        """
        latents, _ = self.encode(inputs)
        return self.head(latents)

    @hk.name_like("__call__")
    def head(self, latents: jax.Array) -> jax.Array:
        """Class logits, float32 [B, num_classes], of latents [B, N, D]."""
        summary = latents.astype(jnp.float32).mean(axis=1)  # [B, D]
        return Linear(self._num_classes, zero_init=True, name="head")(summary)

    @hk.name_like("__call__")
    def encode(
        self, inputs: ByteArray | Sequence[ByteArray], logits_of: Collection[int] = ()
    ) -> tuple[jax.Array, dict[int, jax.Array]]:
        """Runs the network up to the last latents.

        Args:
          inputs: the byte array of a batch, or several, equally wide, of fused modalities.
          logits_of: the cross-attends, counted from 0 in the order of the network, whose attention
            logits are wanted. Those of others are never kept.

        Returns:
          The latents [B, N, D], and the wanted logits before the softmax by cross-attend, each
          float32 [B, H, N, M]. M counts the inputs that this cross-attend attends to, those of
          fused modalities after one another.

        Raises:
          ValueError: a wanted cross-attend that the network does not have; byte arrays of other
            widths; inputs that do not divide among the cross-attends of an unrolled network.
        """
        stages = self._architecture.stages()
        for wanted in logits_of:
            if not 0 <= wanted < len(stages):
                raise ValueError(
                    f"cross-attend {wanted} is not one of the network's {len(stages)}, "
                    f"0 to {len(stages) - 1}"
                )
        parts = [inputs] if isinstance(inputs, ByteArray) else list(inputs)
        latents = self._latents(parts[0].content.shape[0])
        attends = self._cross_attends(parts)
        towers = self._towers(latents)

        def run_towers(z, indices):
            for tower, count in _runs(indices):
                z = _repeat(lambda z, _, t=towers[tower]: t(z), z, range(count))
            return z

        maps = {}
        # A stage whose logits are wanted is a run of its own, outside any loop.
        marked = [(s, i if i in logits_of else None) for i, s in enumerate(stages)]
        first = 0
        for (stage, wanted), count in _runs(marked):
            attend = attends[stage.cross_attend]
            if wanted is not None:
                latents, maps[wanted] = attend(latents, wanted)
                latents = run_towers(latents, stage.towers)
            else:
                latents = _repeat(
                    lambda z, i, a=attend, t=stage.towers: run_towers(a(z, i)[0], t),
                    latents,
                    range(first, first + count),
                )
            first += count
        return latents, maps

    def _latents(self, batch: int) -> jax.Array:
        """The learned initial latents, [B, N, D]."""
        shape = [self._architecture.num_latents, self._architecture.latent_channels]
        init = hk.initializers.TruncatedNormal(self._architecture.latent_init_scale)
        latents = hk.get_parameter("latents", shape, jnp.float32, init=init)
        return jnp.broadcast_to(latents.astype(self._dtype), (batch, *shape))

    @hk.name_like("__call__")
    def _cross_attends(self, parts: Sequence[ByteArray]) -> list[Callable]:
        """A function for each cross-attend with weights of its own, its keys and values computed.

        It takes the latents and, as the share of an unrolled network depends on it, the number of
        the cross-attend in the network's order.
        """
        stages = self._architecture.stages()
        inputs, mask = concatenate_parts(parts)
        share = self._architecture.inputs_of_a_cross_attend(inputs.shape[1])

        def prepare(index: int) -> Callable:
            module = CrossAttend(
                channels=self._architecture.attention_channels(inputs.shape[-1]),
                heads=self._architecture.cross_heads,
                widening=self._architecture.dense_widening,
                name=f"cross_attend_{index}",
            )
            if not self._architecture.unrolled:
                seen = (*module.keys_and_values(inputs, self._dtype), mask)

                def attend(latents, number):
                    del number  # every cross-attend sees the same
                    return module(latents, *seen)

            else:
                users = [i for i, stage in enumerate(stages) if stage.cross_attend == index]
                start, stop = users[0] * share, (users[-1] + 1) * share
                keys_and_values = module.keys_and_values(inputs[:, start:stop], self._dtype)
                seen = (*keys_and_values, None if mask is None else mask[:, start:stop])

                def attend(latents, number):
                    place = number * share - start
                    own = jax.tree.map(
                        lambda x: jax.lax.dynamic_slice_in_dim(x, place, share, axis=1), seen
                    )
                    return module(latents, *own)

            return hk.remat(attend) if self._remat else attend

        return [prepare(i) for i in range(self._architecture.num_cross_attend_parameter_sets())]

    @hk.name_like("__call__")
    def _towers(self, latents: jax.Array) -> list[Callable]:
        """A function of the latents for each tower, its layers' parameters stacked."""

        def prepare(index: int) -> Callable:
            module = Tower(
                layers=self._architecture.self_attends_per_tower,
                heads=self._architecture.self_heads,
                widening=self._architecture.dense_widening,
                remat=self._remat,
                name=f"tower_{index}",
            )
            parameters = module.parameters(latents)
            return lambda z: module(z, parameters)

        return [prepare(i) for i in range(self._architecture.num_tower_parameter_sets())]


_Item = TypeVar("_Item", bound=Hashable)


def _runs(items: Iterable[_Item]) -> list[tuple[_Item, int]]:
    """Runs of equal items with their lengths."""
    return [(item, len(list(run))) for item, run in itertools.groupby(items)]


def _repeat(
    function: Callable[[jax.Array, int | jax.Array], jax.Array], z: jax.Array, numbers: range
) -> jax.Array:
    """Applies a function of a carry and a number for each number: a loop, unless there is one."""
    if len(numbers) == 1:
        return function(z, numbers[0])
    steps = jnp.arange(numbers.start, numbers.stop)
    return hk.scan(lambda carry, number: (function(carry, number), None), z, steps)[0]
