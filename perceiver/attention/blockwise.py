"""Attention a block of inputs at a time, so that no [N, M] logits are held (Sec. 3.1).

A softmax over blocks keeps, for each query, the largest logit so far and sums relative to it, and
rescales them when a larger one comes (Milakov and Gimelshein, 2018; Rabe and Staats, 2021). The
backward pass is written here: from the log of each query's sum the weights of a block can be
computed again, so nothing of size [N, M] is kept between the passes (Dao et al., 2022).

Here keys and values are the same vectors, the normalised inputs (see `perceiver.normal_bytes`), and
not arrays but anything that can be attended to block by block, `Attended`: written out (`Rows`),
or on a grid and never written out (`perceiver.normal_bytes.GridBytes`). Within a block inputs come
first and queries last: sums over inputs are then sums of vectors of queries, which CPUs do several
times faster than sums along a vector.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from perceiver.rematerialisation import kept

# Finite, so that a block without any valid input stays free of NaN.
_MASKED = -1e30

Tree = Any


class Attended(Protocol):
    """Vectors x_m of C channels, for each of B examples, in blocks of m of them.

    What a query y has to do with them is linear in y, in two steps: `project` is done once for
    all blocks, `dot` for each. `gather` and `total` are their transposes. It is a pytree of arrays.
    """

    def blocks(self) -> Tree:
        """The data of all blocks: arrays [blocks, B, m, ...]."""

    def mask(self) -> jax.Array | None:
        """Which inputs are valid, bool [blocks, B, m]; None where all are."""

    def project(self, queries: jax.Array) -> tuple[Tree, Tree]:
        """Queries [B, Q, C] as `dot` needs them: what blocks share, and [blocks, ...] their own."""

    def dot(self, block: Tree, projected: tuple[Tree, Tree]) -> jax.Array:
        """Products y . x_m, float32 [B, m, Q], with the inputs of a block."""

    def gather(self, block: Tree, weights: jax.Array) -> tuple[Tree, Tree]:
        """The transpose of `dot`: of weights [B, m, Q], sums in the form of what is projected."""

    def total(self, sums: tuple[Tree, Tree]) -> jax.Array:
        """The transpose of `project`: of all sums, sum_m weight_m x_m, float32 [B, Q, C]."""


class Rows(NamedTuple):
    """Vectors that are written out.

    Attributes:
      x: [blocks, B, m, C], in the type in which products are computed.
      valid: bool [blocks, B, m], or None.
    """

    x: jax.Array
    valid: jax.Array | None

    def blocks(self) -> jax.Array:
        """See `Attended`."""
        return self.x

    def mask(self) -> jax.Array | None:
        """See `Attended`."""
        return self.valid

    def project(self, queries: jax.Array) -> tuple[jax.Array, None]:
        """See `Attended`."""
        return queries.astype(self.x.dtype).swapaxes(1, 2), None  # [B, C, Q]

    def dot(self, block: jax.Array, projected: tuple[jax.Array, None]) -> jax.Array:
        """See `Attended`."""
        return jnp.matmul(block, projected[0], preferred_element_type=jnp.float32)

    def gather(self, block: jax.Array, weights: jax.Array) -> tuple[jax.Array, None]:
        """See `Attended`."""
        weights = weights.astype(block.dtype)
        return jnp.einsum("bmc,bmq->bcq", block, weights, preferred_element_type=jnp.float32), None

    def total(self, sums: tuple[jax.Array, None]) -> jax.Array:
        """See `Attended`."""
        return sums[0].swapaxes(1, 2)


def attend(queries: jax.Array, parts: Sequence[Attended]) -> jax.Array:
    """Attends from Q queries to all inputs of several parts, softmax(y . x_m) x_m.

    Args:
      queries: y, float32 [B, Q, C], scaled already.
      parts: the inputs x_m, keys and values in one.

    Returns:
      float32 [B, Q, C]. That of an example without any valid input is finite, but means nothing.
    """
    chex.assert_rank(queries, 3)
    return _attend(queries, tuple(parts))


@jax.custom_vjp
def _attend(queries, parts):
    return _forward(queries, parts)[0]


def _forward(queries, parts):
    """What is attended to, and the log of each query's sum of exponentiated logits [B, Q]."""
    partial = [_of_part(queries, part) for part in parts]
    log_sums = jnp.stack([highest + jnp.log(total) for highest, total, _ in partial])
    log_sum = jax.nn.logsumexp(log_sums, axis=0)
    attended = [jnp.exp(highest - log_sum)[..., None] * x for highest, _, x in partial]
    return sum(attended[1:], attended[0]), log_sum


def _of_part(queries, part):
    """A part's largest logit and, relative to it, the sums of weights and of weighted inputs."""
    shared, own = part.project(queries)

    def step(running, x):
        highest, total, sums = running
        block, mask, own = x
        logits = _masked(part.dot(block, (shared, own)), mask)  # [B, m, Q]
        higher = jnp.maximum(highest, logits.max(1))
        weights = jnp.exp(logits - higher[:, None])
        rescale = jnp.exp(highest - higher)
        gathered, own_sums = part.gather(block, weights)
        sums = jax.tree.map(lambda old, new: rescale[:, None] * old + new, sums, gathered)
        return (higher, rescale * total + weights.sum(1), sums), (own_sums, higher)

    none = jnp.zeros(queries.shape[:2])
    start = (none + _MASKED, none, _zeros(shared))
    (highest, total, sums), (own_sums, highest_then) = jax.lax.scan(
        step, start, (part.blocks(), part.mask(), own)
    )
    rescale = jnp.exp(highest_then - highest)  # [blocks, B, Q]
    own_sums = jax.tree.map(lambda x: rescale * x, own_sums)
    return highest, total, part.total((sums, own_sums))


def _attend_forward(queries, parts):
    """Keeps nothing of size [Q, M] for the backward pass; notes which parts it has to reach."""
    learned = tuple(
        () if any(x.perturbed for x in jax.tree.leaves(part)) else None for part in parts
    )
    queries, parts = jax.tree.map(lambda x: x.value, (queries, parts))
    attended, log_sum = _forward(queries, parts)
    attended, log_sum = kept(attended, "attended"), kept(log_sum, "log_sum")
    return attended, (queries, parts, learned, attended, log_sum)


def _attend_backward(saved, slope):
    queries, parts, learned, attended, log_sum = saved
    if isinstance(slope, SymbolicZero):
        slope = jnp.zeros(attended.shape)
    mean_slope = (slope * attended).sum(-1)  # [B, Q]
    gradients = [
        _gradients_of_part(queries, part, slope, mean_slope, log_sum, is_learned is not None)
        for part, is_learned in zip(parts, learned, strict=True)
    ]
    of_queries, of_parts = zip(*gradients, strict=True)
    return sum(of_queries[1:], of_queries[0]), of_parts


def _gradients_of_part(queries, part, slope, mean_slope, log_sum, learned):
    """The gradient of the queries through a part, and that of the part if it is learned."""
    q_shared, q_own = part.project(queries)
    s_shared, s_own = part.project(slope)

    def step(running, x):
        block, mask, q_own, s_own = x

        def products(block):
            return part.dot(block, (q_shared, q_own)), part.dot(block, (s_shared, s_own))

        (logits, slopes), through_products = jax.vjp(products, block)
        weights = jnp.exp(_masked(logits, mask) - log_sum[:, None])  # [B, m, Q]
        slopes = weights * (slopes - mean_slope[:, None])
        sums = [part.gather(block, slopes)]
        of_block = None
        if learned:
            sums.append(part.gather(block, weights))
            (of_block,) = through_products((slopes, weights))
        running = jax.tree.map(jnp.add, running, [gathered for gathered, _ in sums])
        return running, ([own for _, own in sums], of_block)

    start = [_zeros(q_shared)] * (2 if learned else 1)
    sums, (own_sums, of_blocks) = jax.lax.scan(
        step, start, (part.blocks(), part.mask(), q_own, s_own)
    )
    sums = list(zip(sums, own_sums, strict=True))
    of_queries = part.total(sums[0])
    if not learned:
        return of_queries, None
    _, through_blocks = jax.vjp(lambda part: part.blocks(), part)
    (of_part,) = through_blocks(of_blocks)
    for projected, its_sums in zip((queries, slope), sums, strict=True):
        outputs, through_projection = jax.vjp(lambda part, y=projected: part.project(y), part)
        its_sums = jax.tree.map(lambda x, like: x.astype(like.dtype), its_sums, outputs)
        of_part = jax.tree.map(_add, of_part, through_projection(its_sums)[0])
    return of_queries, of_part


_attend.defvjp(_attend_forward, _attend_backward, symbolic_zeros=True)


def _masked(logits, mask):
    return logits if mask is None else jnp.where(mask[..., None], logits, _MASKED)


def _zeros(tree):
    return jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), tree)


def _add(x, y):
    """The sum of two gradients; those of masks are of a type that does not add."""
    return x if x.dtype == jax.dtypes.float0 else x + y
