"""Permuted inputs (Table 2): inputs move together with their position encodings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.byte_array import ByteArray
from perceiver.permutations import permuted
from tests.model.networks import byte_array, network, parameters

B, M = 3, 50_176


def numbered(batch=B, num_inputs=M):
    """Returns inputs whose content, positions and mask contain their index."""
    place = jnp.arange(num_inputs, dtype=jnp.float32)
    content = place[None, :, None] + jnp.zeros([batch, 1, 2])
    mask = jnp.broadcast_to(place % 2 == 0, (batch, num_inputs))
    return ByteArray(content, jnp.stack([place, -place], axis=-1), mask)


def places(inputs):
    """Returns the original index of each input, [B, M], and checks that its parts agree."""
    rows = np.asarray(inputs._replace(mask=None).concatenate())
    for channel, sign in ((1, 1), (2, 1), (3, -1)):
        np.testing.assert_array_equal(rows[..., channel], sign * rows[..., 0])
    np.testing.assert_array_equal(inputs.mask, rows[..., 0] % 2 == 0)
    return rows[..., 0].astype(int)


def run(permutation, seed=0, index=None, inputs=None):
    inputs = numbered() if inputs is None else inputs
    return jax.jit(lambda x, i: permuted(x, permutation, seed, i))(inputs, index)


def test_one_fixed_permutation_for_all():
    inputs = run("fixed")
    order = places(inputs)
    np.testing.assert_array_equal(np.sort(order[0]), np.arange(M))
    assert (order == order[0]).all()
    assert np.abs(np.corrcoef(order[0], np.arange(M))[0, 1]) < 0.02
    assert inputs.positions.shape == (M, 2)  # still shared by the batch
    np.testing.assert_array_equal(places(run("fixed", seed=0))[0], order[0])
    assert (places(run("fixed", seed=1))[0] != order[0]).any()


def test_the_fixed_permutation_never_changes():
    """Compares with NumPy's legacy generator, seed 0, for 8 inputs."""
    expected = np.random.RandomState(0).permutation(8)
    np.testing.assert_array_equal(expected, [6, 2, 1, 7, 3, 0, 5, 4])
    order = places(run("fixed", inputs=numbered(1, 8)))
    np.testing.assert_array_equal(order[0], expected)


def test_a_random_permutation_for_every_example():
    order = places(run("random", index=jnp.array([7, 8, 7])))
    for example_order in order:
        np.testing.assert_array_equal(np.sort(example_order), np.arange(M))
    np.testing.assert_array_equal(order[0], order[2])  # the same example again
    assert np.abs(np.corrcoef(order[0], order[1])[0, 1]) < 0.02
    other = places(run("random", seed=1, index=jnp.array([7, 8, 9])))
    assert (other[0] != order[0]).any()


def test_positions_of_each_example_move_with_it():
    own = numbered()._replace(positions=jnp.broadcast_to(numbered().positions, (B, M, 2)))
    for permutation in ("fixed", "random"):
        order = places(run(permutation, index=jnp.arange(B), inputs=own))
        assert (order[0] != np.arange(M)).any()


def test_none_and_unknown():
    inputs = numbered(1, 8)
    assert permuted(inputs, "none", 0) is inputs
    with pytest.raises(ValueError, match="unknown permutation 'fix': did you mean 'fixed'"):
        permuted(inputs, "fix", 0)


@pytest.mark.parametrize("permutation", ["fixed", "random"])
def test_the_network_is_indifferent(permutation):
    """Attention sums over inputs, so their order has no effect (Table 2: 78.0 raw and permuted)."""
    inputs = byte_array(batch=3)
    classify, _ = network()
    params = parameters(classify, inputs)
    raw = jax.jit(classify.apply)(params, inputs)
    mixed = permuted(inputs, permutation, 5, jnp.arange(3))
    assert not np.allclose(mixed.concatenate(), inputs.concatenate())
    np.testing.assert_allclose(jax.jit(classify.apply)(params, mixed), raw, rtol=1e-4, atol=1e-5)
