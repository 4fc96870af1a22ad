"""Byte arrays on grids: the place of every input, and errors for inputs that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.baselines.grid import lay_on_grid
from perceiver.byte_array import ByteArray
from tests.model.baselines.networks import (
    number_of_parameters,
    parameters,
    resnet,
    resnet_variables,
    transformer,
    vit,
)
from tests.model.networks import byte_array


def test_every_input_is_in_its_place():
    content = np.arange(2 * 15 * 2).reshape(2, 15, 2)
    positions = -np.arange(15 * 3).reshape(15, 3)
    inputs = ByteArray(jnp.asarray(content, jnp.uint8), jnp.asarray(positions, jnp.float32))
    laid = jax.jit(lay_on_grid, static_argnums=1)(inputs, (3, 5))
    assert laid.shape == (2, 3, 5, 5)
    assert laid.dtype == jnp.float32
    for b in range(2):
        for r in range(3):
            for c in range(5):
                m = 5 * r + c
                wanted = [30 * b + 2 * m, 30 * b + 2 * m + 1, -3 * m, -3 * m - 1, -3 * m - 2]
                np.testing.assert_array_equal(laid[b, r, c], wanted)


def test_positions_of_each_example():
    positions = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    laid = lay_on_grid(ByteArray(jnp.zeros([2, 6, 0]), jnp.asarray(positions)), (3, 2))
    np.testing.assert_array_equal(laid, positions.reshape(2, 3, 2, 3))


@pytest.mark.parametrize("make", [vit, resnet], ids=["vit", "resnet"])
def test_inputs_that_do_not_fill_the_grid_are_refused(make):
    arguments = (True,) if make is resnet else ()
    network = make(grid=(7, 11))
    with pytest.raises(ValueError, match=r"^grid is 7 x 11, 77 places, for 53 inputs"):
        network.init(jax.random.key(0), byte_array(num_inputs=53), *arguments)
    masked = byte_array(num_inputs=77, mask=jnp.ones([2, 77], bool))
    with pytest.raises(ValueError, match=r"^a grid takes no masked inputs"):
        network.init(jax.random.key(0), masked, *arguments)


def test_the_transformer_refuses_masked_inputs():
    masked = byte_array(num_inputs=77, mask=jnp.ones([2, 77], bool))
    with pytest.raises(ValueError, match=r"^the Transformer takes no masked inputs"):
        transformer().init(jax.random.key(0), masked)


class TestPermutation:
    """Table 2: the same permutation of all inputs, each with its position encoding."""

    inputs = byte_array(num_inputs=77)
    order = jnp.asarray(np.random.default_rng(2).permutation(77))

    def change(self, network):
        params = parameters(network, self.inputs)
        apply = jax.jit(network.apply)
        before, after = apply(params, self.inputs), apply(params, self.inputs.permute(self.order))
        return np.abs(after - before).max(), np.abs(before).max()

    def test_leaves_the_transformer(self):
        change, scale = self.change(transformer())
        assert scale > 0.1
        assert change < 1e-5 * scale

    def test_changes_vit(self):
        change, scale = self.change(vit())
        assert change > 0.05 * scale

    def test_changes_resnet(self):
        network = resnet(grid=(7, 11))
        params, state = resnet_variables(network, self.inputs)
        apply = jax.jit(lambda x: network.apply(params, state, x, True)[0])
        before, after = apply(self.inputs), apply(self.inputs.permute(self.order))
        assert np.abs(after - before).max() > 0.05 * np.abs(before).max()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vit(heads=3), "^heads is 3, which does not divide channels, 22"),
        (lambda: transformer(heads=3), "^heads is 3, which does not divide channels, 22"),
        (lambda: transformer(layers=0), "^layers is 0; it must be at least 1"),
        (lambda: vit(widening=0), "^widening is 0; it must be at least 1"),
        (lambda: vit(patch=0), "^patch is 0; it must be at least 1"),
        (lambda: vit(dtype="float16"), "^unknown dtype 'float16'"),
        (lambda: transformer(remat="all"), "^unknown remat 'all'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        number_of_parameters(make(), (7, 11), 3)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (dict(blocks=(3, 4, 6)), r"^blocks is \(3, 4, 6\); give one for each of four groups"),
        (dict(channels=(8, 8)), r"^channels is \(8, 8\); give one for each of four groups"),
        (dict(blocks=(3, 0, 6, 3)), r"^blocks is \(3, 0, 6, 3\); each must be at least 1"),
        (dict(channels=(8, 8, 8, 9)), r"^channels is \(8, 8, 8, 9\); each must be a multiple of 4"),
    ],
    ids=str,
)
def test_sizes_that_are_no_resnet_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        number_of_parameters(resnet(**sizes), (31, 37), 3, True)
