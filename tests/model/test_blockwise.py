"""Blockwise attention against NumPy float64, under jit, forward and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.attention.blockwise import blockwise_attention
from perceiver.attention.grid import GridInputs
from perceiver.attention.inputs import InputBlocks, dot_products
from perceiver.byte_array import ByteArray, GridPositions

B, Q, C = 2, 5, 7


def draw(*shape, seed=0, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), jnp.float32)


def input_blocks(num_inputs, block_size, mask=None, seed=1):
    """Returns normalised inputs in blocks, and the same inputs, float64 [B, M, C]."""
    content = np.asarray(draw(B, num_inputs, C, seed=seed))
    inputs = ByteArray(jnp.asarray(content), jnp.zeros([num_inputs, 0]), mask)
    part = InputBlocks.from_byte_array(
        inputs, jnp.float32, segment_size=num_inputs, block_size=block_size
    )
    return part, layer_norm(np.float64(content))


def grid_inputs(shape=(3, 4), content=2, mask=None, offset=0.0, seed=2):
    """Returns inputs on a grid: two position channels depend on the row, the rest on the column."""
    height, width = shape
    is_row = jnp.arange(C - content) < 2
    rows = jnp.where(is_row, draw(height, C - content, seed=3), 0)
    columns = jnp.where(is_row, 0, draw(width, C - content, seed=4))
    content = draw(B, height * width, content, seed=seed) + offset
    return ByteArray(content, GridPositions(rows, columns), mask)


def layer_norm(x):
    variance = x.var(-1, keepdims=True)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-5)


def normalised_inputs(inputs):
    """Returns the normalised inputs on a grid, float64 [B, M, C]."""
    rows, columns = map(np.float64, inputs.positions)
    positions = (rows[:, None] + columns).reshape(len(rows) * len(columns), rows.shape[-1])
    positions = np.broadcast_to(positions, (B, *positions.shape))
    return layer_norm(np.concatenate([np.float64(inputs.content), positions], -1))


def softmax_attention(queries, x, mask=None):
    """Returns softmax(y . x_m) x_m, float64 [B, Q, C]."""
    logits = np.float64(queries) @ np.swapaxes(x, 1, 2)
    if mask is not None:
        logits = np.where(mask[:, None], logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ x


def random_mask(num_inputs, seed=5):
    """Returns a mask with a whole block of masked inputs in the first example."""
    mask = np.random.default_rng(seed).random((B, num_inputs)) < 0.5
    mask[0, : num_inputs // 2] = False
    mask[:, -1] = True
    return mask


@pytest.mark.parametrize("block_size", [1, 4, 10, 53])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [1.0, 200.0])
def test_input_blocks_equal_numpy(block_size, masked, size):
    """Tests padded blocks, and logits of several hundred, whose exponentials overflow."""
    mask = random_mask(53) if masked else None
    part, x = input_blocks(53, block_size, None if mask is None else jnp.asarray(mask))
    queries = draw(B, Q, C, scale=size)
    got = jax.jit(lambda q: blockwise_attention(q, [part]))(queries)
    np.testing.assert_allclose(got, softmax_attention(queries, x, mask), atol=3e-6 * size)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("content", [0, 2])
def test_grid_equals_numpy(masked, content):
    mask = random_mask(12) if masked else None
    inputs = grid_inputs(content=content, mask=None if mask is None else jnp.asarray(mask))
    queries = draw(B, Q, C)
    got = jax.jit(lambda q, i: blockwise_attention(q, [GridInputs.from_byte_array(i)]))(
        queries, inputs
    )
    np.testing.assert_allclose(
        got, softmax_attention(queries, normalised_inputs(inputs), mask), atol=3e-6
    )


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_normalised_grid_keeps_small_differences_of_large_content(offset):
    """A variance computed as a mean of squares minus a squared mean would lose them."""
    inputs = grid_inputs(content=C, offset=offset)
    inputs = inputs._replace(positions=GridPositions(jnp.zeros([3, 0]), jnp.zeros([4, 0])))
    got = jax.jit(lambda i: dot_products(GridInputs.from_byte_array(i), jnp.eye(C)[None]))(inputs)
    np.testing.assert_allclose(got, normalised_inputs(inputs), atol=2e-6 * max(1, offset))


def test_several_parts_are_one_softmax():
    mask = jnp.asarray(random_mask(12))
    inputs = grid_inputs(mask=mask)
    (a, x_a), (b, x_b) = input_blocks(11, 4, seed=6), input_blocks(8, 8, seed=7)
    queries = draw(B, Q, C)
    got = jax.jit(lambda q: blockwise_attention(q, [a, GridInputs.from_byte_array(inputs), b]))(
        queries
    )
    x = np.concatenate([x_a, normalised_inputs(inputs), x_b], 1)
    whole = np.concatenate([np.ones((B, 11), bool), mask, np.ones((B, 8), bool)], 1)
    np.testing.assert_allclose(got, softmax_attention(queries, x, whole), atol=3e-6)


def test_gradients_equal_differences_of_numpy():
    """Tests the gradients of queries, content, rows and columns through both kinds of part."""
    inputs = grid_inputs()._replace(mask=jnp.asarray(random_mask(12)))
    vector = draw(B, 11, C, seed=6)
    weights = draw(B, Q, C, seed=8)

    def weighted_sum(queries, content, rows, columns, vector):
        grid = GridInputs.from_byte_array(
            ByteArray(content, GridPositions(rows, columns), inputs.mask)
        )
        part = ByteArray(vector, jnp.zeros([11, 0]))
        part = InputBlocks.from_byte_array(part, jnp.float32, segment_size=11, block_size=4)
        return (blockwise_attention(queries, [grid, part]) * weights).sum()

    def plain(queries, content, rows, columns, vector):
        x = normalised_inputs(ByteArray(content, GridPositions(rows, columns)))
        x = np.concatenate([x, layer_norm(vector)], 1)
        mask = np.concatenate([inputs.mask, np.ones((B, 11), bool)], 1)
        return (softmax_attention(queries, x, mask) * np.float64(weights)).sum()

    values = [draw(B, Q, C), inputs.content, *inputs.positions, vector]
    gradients = jax.jit(jax.grad(weighted_sum, argnums=tuple(range(5))))(*values)
    values = [np.float64(x) for x in values]
    for i, gradient in enumerate(gradients):
        direction = np.random.default_rng(i).normal(size=values[i].shape)
        if i in (2, 3):  # a channel depends on either the row or the column
            direction *= values[i] != 0
        ends = [
            plain(*values[:i], values[i] + sign * 1e-5 * direction, *values[i + 1 :])
            for sign in (1, -1)
        ]
        wanted = (ends[0] - ends[1]) / 2e-5
        assert (np.float64(gradient) * direction).sum() == pytest.approx(wanted, rel=2e-4), i


def test_the_gradient_of_queries_alone_does_not_reach_the_inputs():
    """Without a gradient of the inputs, the backward pass takes three products of six."""
    part, _ = input_blocks(40, 10)
    queries = draw(B, Q, C)

    def program(argument):
        return str(
            jax.make_jaxpr(
                jax.grad(lambda q, p: blockwise_attention(q, [p]).sum(), argnums=argument)
            )(queries, part)
        )

    of_queries = program(0).count("dot_general")
    both = str(
        jax.make_jaxpr(
            jax.grad(
                lambda qx: blockwise_attention(qx[0], [InputBlocks(qx[1], None)]).sum(), argnums=0
            )
        )((queries, part.x))
    ).count("dot_general")
    assert of_queries == 5  # forward: logits, values; backward: logits, slopes, queries
    assert both == 8  # and the weighted cotangents, and two for the inputs


def test_an_example_without_valid_inputs_is_finite():
    mask = np.zeros((B, 20), bool)
    mask[0, 3] = True
    part, x = input_blocks(20, 5, jnp.asarray(mask))
    queries = draw(B, Q, C)
    attended = lambda q: blockwise_attention(q, [part])[0, :, 0].sum()  # noqa: E731
    value, gradient = jax.jit(jax.value_and_grad(attended))(queries)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(value, Q * x[0, 3, 0], rtol=1e-4)
