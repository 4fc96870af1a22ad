"""The Perceiver: latents that attend to a byte array, tower by tower (Sec. 3.1, Fig. 1)."""

import itertools
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import TypeVar

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.architecture import Architecture
from perceiver.attention.attend import WAYS, Folded, Keys, normalised, seen
from perceiver.attention.normalised_inputs import shares_of
from perceiver.blocks import CrossAttend, Linear, Tower
from perceiver.byte_array import ByteArray, same_width
from perceiver.errors import InputError
from perceiver.names import look_up, unknown
from perceiver.rematerialisation import REMAT, rematerialised

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

# Layers of a shared tower that are written out in the program instead of looped over. On 2 CPU
# cores, one 224 x 224 picture is forwarded in three quarters of the time with the paper's 6.
_LAYERS_WRITTEN_OUT = 8


class Perceiver(hk.Module):
    """A Perceiver classifier.

    What repeats is a loop: runs of the same shared stage (a cross-attend and its towers), runs of
    the same tower, and the layers of a tower that is not shared.
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
          architecture: its sizes.
          num_classes: outputs of the head.
          attention: how cross-attends are computed, one of `perceiver.attention.attend.WAYS`.
          dtype: 'float32' or 'bfloat16', in which activations are kept and products computed.
            Parameters, LayerNorm statistics, softmax and head stay float32.
          remat: what the backward pass computes again: 'none', 'elementwise' for all but matrix
            products and attention, or 'block' for all that is inside a cross-attend or self-attend.
          name: of the module.

        Raises:
          InputError: another attention, dtype or remat.
        """
        super().__init__(name=name)
        self._architecture = architecture
        self._num_classes = num_classes
        if attention not in WAYS:
            raise InputError(unknown(attention, WAYS, what="attention"))
        self._attention = attention
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
        self,
        inputs: ByteArray | Sequence[ByteArray],
        logits_of: Collection[int] = (),
        latents_of: Sequence[int] | None = None,
    ) -> tuple[jax.Array, dict[int, jax.Array]]:
        """Runs the network up to the last latents.

        Args:
          inputs: the byte array of a batch, or several, equally wide, of fused modalities.
          logits_of: the cross-attends, counted from 0 in the order of the network, whose attention
            logits are wanted. Those of others are never kept.
          latents_of: the latents, counted from 0, whose logits are wanted: of others none are made.
            None for all N.

        Returns:
          The latents [B, N, D], and the wanted logits before the softmax by cross-attend, each
          float32 [B, H, N, M], or with a place for each of `latents_of` instead of N. M counts the
          inputs that this cross-attend attends to, those of fused modalities after one another.

        Raises:
          InputError: a wanted cross-attend or latent that the network does not have; byte arrays of
            other widths; inputs that do not divide among the cross-attends of an unrolled network.
        """
        stages = self._architecture.stages()
        _check_wanted("cross-attend", logits_of, len(stages))
        _check_wanted("latent", latents_of or (), self._architecture.num_latents)
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
                shown = latents if latents_of is None else latents[:, jnp.asarray(latents_of)]
                maps[wanted] = attend.logits(shown, wanted)
            latents = _repeat(
                lambda z, i, a=attend, t=stage.towers: run_towers(a(z, i), t),
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
    def _cross_attends(self, parts: Sequence[ByteArray]) -> list["_Attend"]:
        """Each cross-attend with weights of its own, and what it attends to."""
        sizes, stages = self._architecture, self._architecture.stages()
        num_inputs = sum(part.num_inputs for part in parts)
        input_channels = same_width(parts)
        share = sizes.inputs_of_a_cross_attend(num_inputs)
        shares = num_inputs // share
        of_share = tuple(part.num_inputs // shares for part in parts)
        batch = parts[0].content.shape[0]
        way, inputs = normalised(
            parts,
            self._attention,
            dtype=self._dtype,
            shares=shares,
            logits=batch * sizes.cross_heads * sizes.num_latents * share,
        )

        def prepare(index: int) -> _Attend:
            module = CrossAttend(
                channels=sizes.attention_channels(input_channels),
                heads=sizes.cross_heads,
                widening=sizes.dense_widening,
                name=f"cross_attend_{index}",
            )
            users = [i for i, stage in enumerate(stages) if stage.cross_attend == index]
            projection = module.projection(input_channels)
            first, count = (users[0], len(users)) if sizes.unrolled else (0, 1)
            own = tuple(shares_of(part, first, count, shares) for part in inputs)
            inside = seen(own, way, projection, sizes=of_share, dtype=self._dtype)
            return _Attend(module, inside, first, count, remat=self._remat)

        return [prepare(i) for i in range(sizes.num_cross_attend_parameter_sets())]

    @hk.name_like("__call__")
    def _towers(self, latents: jax.Array) -> list[Callable]:
        """A function of the latents for each tower with weights of its own.

        A tower that all share is looped over as a whole; where there are several, or it is very
        deep, the layers of each are a loop.
        """
        sizes = self._architecture
        count = sizes.num_tower_parameter_sets()
        looped = count > 1 or sizes.self_attends_per_tower > _LAYERS_WRITTEN_OUT

        def prepare(index: int) -> Callable:
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
                tower(latents)  # outside any loop
            return tower

        return [prepare(i) for i in range(count)]


class _Attend:
    """A cross-attend with what it attends to: all inputs, or its shares of them, one at a time."""

    def __init__(
        self,
        module: CrossAttend,
        inputs: Keys | Folded,
        first: int,
        shares: int,
        *,
        remat: dict | None,
    ):
        """Takes the inputs in so many shares, of which the first is of cross-attend `first`."""
        self._module = module
        self._inputs = inputs
        self._first = first
        self._shares = shares
        self._remat = remat

    def __call__(self, latents: jax.Array, number: int | jax.Array) -> jax.Array:
        """The new latents [B, N, D], as cross-attend `number` in the network's order."""

        def attend(latents, number):
            return self._module(latents, self._seen(number))

        return rematerialised(attend, self._remat)(latents, number)

    def logits(self, latents: jax.Array, number: int) -> jax.Array:
        """The attention logits before mask and softmax, float32 [B, H, N, M]."""
        return self._seen(number).logits(self._module.queries(latents))

    def _seen(self, number):
        if self._shares == 1:
            return self._inputs
        return self._inputs.share(number - self._first, self._shares)


def _check_wanted(what: str, wanted: Collection[int], count: int) -> None:
    for number in wanted:
        if not 0 <= number < count:
            raise InputError(
                f"{what} {number} is not one of the network's {count}, 0 to {count - 1}"
            )


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
