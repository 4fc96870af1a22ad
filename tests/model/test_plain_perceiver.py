"""The plain Perceiver against `perceiver.model.Perceiver` and the NumPy network, under jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.architecture import Architecture
from perceiver.byte_array import ByteArray
from perceiver.plain_perceiver import plain_perceiver
from tests.model import reference
from tests.model.networks import SMALL, byte_array, network, order, parameters, plain

# Few layers: the program contains each of them, so they take long to compile.
FEW = SMALL | dict(num_cross_attends=2, num_towers=2, self_attends_per_tower=1)
NETWORKS = {
    "shared": dict(num_cross_attends=3, num_towers=2),
    "nothing shared": dict(share_cross_attends=False, share_towers=False, cross_heads=13),
    "all at the start": dict(
        cross_attends_at_start=True, num_towers=1, self_attends_per_tower=2, dense_widening=3
    ),
    "unrolled": dict(num_cross_attends=3, num_towers=0, unrolled=True),
}


def both(sizes, inputs, dtype="float32"):
    """Returns the network and the plain one, as functions of parameters, and the parameters."""
    classify, _ = network(FEW | sizes, dtype=dtype)
    architecture = Architecture(**(FEW | sizes))
    return (
        lambda params: classify.apply(params, inputs),
        lambda params: plain_perceiver(params, architecture, [inputs], dtype),
        parameters(classify, inputs),
    )


_SLOW = ("all at the start", "unrolled")


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=pytest.mark.slow) if x in _SLOW else x for x in NETWORKS],
)
def test_it_equals_the_network(name):
    inputs = byte_array(num_inputs=51)  # divisible by 3 cross-attends
    real, simple, params = both(NETWORKS[name], inputs)
    weights = np.random.default_rng(4).normal(size=(2, 5))

    def logits_and_gradient(classify):
        def scalar(params):
            logits = classify(params)
            return (logits * weights).sum(), logits

        (_, logits), gradient = jax.jit(jax.value_and_grad(scalar, has_aux=True))(params)
        return logits, gradient

    wanted, wanted_gradient = logits_and_gradient(real)
    got, got_gradient = logits_and_gradient(simple)
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)
    # The bias of keys shifts all logits of a query, so its gradient is a rounding error.
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(wanted_gradient))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * largest),
        got_gradient,
        wanted_gradient,
    )


def test_it_equals_numpy():
    inputs, sizes = byte_array(), dict(cross_heads=13, share_towers=False)
    _, simple, params = both(sizes, inputs)
    logits = jax.jit(simple)(params)
    for example in range(2):
        wanted, _ = reference.perceiver(
            params, plain(inputs, example), order(FEW | sizes), 1, cross_heads=13, self_heads=2
        )
        np.testing.assert_allclose(logits[example], wanted, rtol=2e-5, atol=2e-5)


def test_several_byte_arrays_are_concatenated():
    inputs = byte_array()
    halves = [
        ByteArray(inputs.content[:, part], inputs.positions[part])
        for part in (slice(20), slice(20, None))
    ]
    _, simple, params = both({}, inputs)
    logits = jax.jit(plain_perceiver, static_argnums=1)(params, Architecture(**FEW), halves)
    np.testing.assert_allclose(logits, simple(params), rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near():
    real, simple, params = both({}, byte_array(), dtype="bfloat16")
    exact = both({}, byte_array())[1](params)
    for classify in (real, simple):
        error = np.linalg.norm(jax.jit(classify)(params) - exact) / np.linalg.norm(exact)
        assert 1e-4 < error < 0.05  # larger than in float32


def test_it_refuses_masks():
    inputs = byte_array(mask=jnp.ones((2, 53), bool))
    with pytest.raises(ValueError, match="takes no masks"):
        plain_perceiver({}, Architecture(**FEW), [inputs])
