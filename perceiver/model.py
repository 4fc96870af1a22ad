"""The Perceiver: latents that alternately attend to a byte array and to each other (Sec. 3.1)."""

import functools
import itertools
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import TypeVar

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.architecture import Architecture, Stage
from perceiver.attention import (
    IMPLEMENTATIONS,
    AttentionInputs,
    attention_logits,
    prepare_inputs,
)
from perceiver.blocks import CrossAttend, Linear, Tower
from perceiver.byte_array import ByteArray, common_channels
from perceiver.errors import InputError
from perceiver.names import look_up, unknown
from perceiver.rematerialisation import REMAT, rematerialise

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

# A shared tower of up to this number of layers has no loop over them. On 2 CPU cores, the forward
# pass of one 224 x 224 image then takes three quarters of the time with the paper's 6 layers.
_MAX_UNLOOPED_LAYERS = 8


class Perceiver(hk.Module):
    """A Perceiver classifier.

    Repetition is a loop in the program: over consecutive applications of the same shared stage (a
    cross-attend and its towers), over those of the same tower, and over the layers of towers that
    are not shared.
    """

    def __init__(
        self,
        architecture: Architecture,
        num_classes: int,
        *,
        attention: str = "auto",
        dtype: str = "float32",
        remat: str = "elementwise",
        name: str = "perceiver",
    ):
        """Sets the network up.

        Args:
          architecture: sizes of the network.
          num_classes: number of outputs of the head.
          attention: implementation of the cross-attends, one of
            `perceiver.attention.IMPLEMENTATIONS`.
          dtype: type of activations and matrix products, 'float32' or 'bfloat16'. Parameters,
            LayerNorm statistics, softmax and head stay float32.
          remat: values that the backward pass computes again: 'none', 'elementwise' for everything
            except matrix products and attention, or 'block' for all values inside a cross-attend or
            self-attend.
          name: name of the module.

        Raises:
          InputError: an unknown attention, dtype or remat.
        """
        super().__init__(name=name)
        self._architecture = architecture
        self._num_classes = num_classes
        if attention not in IMPLEMENTATIONS:
            raise InputError(unknown(attention, IMPLEMENTATIONS, what="attention"))
        self._attention = attention
        self._dtype = look_up(DTYPES, dtype, what="dtype")
        self._remat = look_up(REMAT, remat, what="remat")

    def __call__(self, inputs: ByteArray | Sequence[ByteArray]) -> jax.Array:
        """Returns class logits, float32 [B, num_classes].

        Args:
          inputs: the byte array of a batch, or the byte arrays of fused modalities, with the same
            number of channels.
        """
        latents, _ = self.encode(inputs)
        return self.head(latents)

    @hk.name_like("__call__")
    def head(self, latents: jax.Array) -> jax.Array:
        """Maps latents [B, N, D] to class logits, float32 [B, num_classes], from their mean."""
        summary = latents.astype(jnp.float32).mean(axis=1)  # [B, D]
        return Linear(self._num_classes, zero_init=True, name="head")(summary)

    @hk.name_like("__call__")
    def encode(
        self,
        inputs: ByteArray | Sequence[ByteArray],
        logits_of: Collection[int] = (),
        latents_of: Sequence[int] | None = None,
    ) -> tuple[jax.Array, dict[int, jax.Array]]:
        """Runs the network up to the last latents.

        Args:
          inputs: the byte array of a batch, or the byte arrays of fused modalities, with the same
            number of channels.
          logits_of: indices of the cross-attends, in the order of the network, whose attention
            logits to return. The logits of other cross-attends are never stored.
          latents_of: indices of the latents whose attention logits to compute; None for all N.

        Returns:
          The latents [B, N, D], and the requested logits before mask and softmax by cross-attend,
          each float32 [B, H, N, M], with N replaced by the length of `latents_of` where given. M
          counts the inputs of this cross-attend; those of fused modalities follow one another.

        Raises:
          InputError: a cross-attend or latent that the network does not have, byte arrays with
            different numbers of channels, or an unrolled network whose cross-attends do not divide
            the number of inputs.
        """
        stages = self._architecture.stages()
        _check_indices("cross-attend", logits_of, len(stages))
        _check_indices("latent", latents_of or (), self._architecture.num_latents)
        parts = [inputs] if isinstance(inputs, ByteArray) else list(inputs)
        latents = self._latents(parts[0].content.shape[0])
        cross_attends = self._cross_attends(parts)
        towers = self._towers(latents)

        def run_tower(index: int, z: jax.Array, number: int | jax.Array) -> jax.Array:
            del number
            return towers[index](z)

        def run_stage(stage: Stage, z: jax.Array, number: int | jax.Array) -> jax.Array:
            z = cross_attends[stage.cross_attend](z, number)
            for index, count in _group_repeats(stage.towers):
                z = _repeat(functools.partial(run_tower, index), z, range(count))
            return z

        maps = {}
        # A stage with requested logits is a group of one, outside any loop.
        marked = [(s, i if i in logits_of else None) for i, s in enumerate(stages)]
        first = 0
        for (stage, requested), count in _group_repeats(marked):
            if requested is not None:
                selected = latents if latents_of is None else latents[:, jnp.asarray(latents_of)]
                cross_attend = cross_attends[stage.cross_attend]
                maps[requested] = cross_attend.logits(selected, requested)
            numbers = range(first, first + count)
            latents = _repeat(functools.partial(run_stage, stage), latents, numbers)
            first += count
        return latents, maps

    def _latents(self, batch: int) -> jax.Array:
        """Returns the learned initial latents, [B, N, D]."""
        shape = [self._architecture.num_latents, self._architecture.latent_channels]
        init = hk.initializers.TruncatedNormal(self._architecture.latent_init_scale)
        latents = hk.get_parameter("latents", shape, jnp.float32, init=init)
        return jnp.broadcast_to(latents.astype(self._dtype), (batch, *shape))

    @hk.name_like("__call__")
    def _cross_attends(self, parts: Sequence[ByteArray]) -> list["_BoundCrossAttend"]:
        """Returns each cross-attend that has separate weights, bound to its inputs."""
        sizes, stages = self._architecture, self._architecture.stages()
        num_inputs = sum(part.num_inputs for part in parts)
        input_channels = common_channels(parts)
        prepared = prepare_inputs(
            parts,
            self._attention,
            dtype=self._dtype,
            segments=num_inputs // sizes.inputs_per_cross_attend(num_inputs),
            num_queries=sizes.cross_heads * sizes.num_latents,
        )

        def bind(index: int) -> _BoundCrossAttend:
            module = CrossAttend(
                channels=sizes.attention_channels(input_channels),
                heads=sizes.cross_heads,
                widening=sizes.dense_widening,
                name=f"cross_attend_{index}",
            )
            uses = [i for i, stage in enumerate(stages) if stage.cross_attend == index]
            first, segments = (uses[0], len(uses)) if sizes.unrolled else (0, 1)
            inputs = prepared.project(module.projection(input_channels), first, segments)
            return _BoundCrossAttend(module, inputs, first, segments, remat=self._remat)

        return [bind(i) for i in range(sizes.num_cross_attend_parameter_sets())]

    @hk.name_like("__call__")
    def _towers(self, latents: jax.Array) -> list[Callable[[jax.Array], jax.Array]]:
        """Returns a function of the latents for each tower that has separate weights.

        A shared tower is repeated by a loop over the tower, and its layers are not looped over.
        Several towers, or a very deep one, have a loop over their layers.
        """
        sizes = self._architecture
        count = sizes.num_tower_parameter_sets()
        looped = count > 1 or sizes.self_attends_per_tower > _MAX_UNLOOPED_LAYERS

        def make_tower(index: int) -> Callable[[jax.Array], jax.Array]:
            tower = Tower(
                layers=sizes.self_attends_per_tower,
                heads=sizes.self_heads,
                widening=sizes.dense_widening,
                remat=self._remat,
                name=f"tower_{index}",
            )
            if looped:
                return tower.looped(latents)
            if hk.running_init():
                tower(latents)  # creates the parameters outside any loop
            return tower

        return [make_tower(i) for i in range(count)]


class _BoundCrossAttend:
    """A cross-attend with its attention inputs: all inputs, or one segment per application."""

    def __init__(
        self,
        module: CrossAttend,
        inputs: AttentionInputs,
        first: int,
        segments: int,
        *,
        remat: dict | None,
    ):
        """Takes inputs of several segments; `first` is the number of the first application."""
        self._module = module
        self._inputs = inputs
        self._first = first
        self._segments = segments
        self._remat = remat

    def __call__(self, latents: jax.Array, number: int | jax.Array) -> jax.Array:
        """Returns the new latents [B, N, D]; `number` counts the network's cross-attends."""

        def apply(latents, number):
            return self._module(latents, self._inputs_of(number))

        return rematerialise(apply, self._remat)(latents, number)

    def logits(self, latents: jax.Array, number: int) -> jax.Array:
        """Returns the attention logits before mask and softmax, float32 [B, H, N, M]."""
        inputs = self._inputs_of(number)
        return attention_logits(self._module.queries(latents), inputs)

    def _inputs_of(self, number: int | jax.Array) -> AttentionInputs:
        if self._segments == 1:
            return self._inputs
        return self._inputs.segment(number - self._first, self._segments)


def _check_indices(what: str, indices: Collection[int], count: int) -> None:
    for index in indices:
        if not 0 <= index < count:
            raise InputError(
                f"{what} {index} is not one of the network's {count}, 0 to {count - 1}"
            )


_Item = TypeVar("_Item", bound=Hashable)


def _group_repeats(items: Iterable[_Item]) -> list[tuple[_Item, int]]:
    """Returns the items without consecutive repeats, each with its number of repeats."""
    return [(item, len(list(group))) for item, group in itertools.groupby(items)]


def _repeat(
    function: Callable[[jax.Array, int | jax.Array], jax.Array], z: jax.Array, numbers: range
) -> jax.Array:
    """Applies a function of a carry and a number for each number, in a loop if there are many."""
    if len(numbers) == 1:
        return function(z, numbers[0])
    steps = jnp.arange(numbers.start, numbers.stop)
    return hk.scan(lambda carry, number: (function(carry, number), None), z, steps)[0]
