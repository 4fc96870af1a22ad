"""ViT and the Transformer against NumPy float64, under jit, forward and gradient."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.baselines.vit import Patches
from perceiver.byte_array import ByteArray
from tests.model.baselines import reference
from tests.model.baselines.networks import LAYERS, PATCHES, parameters, transformer, vit
from tests.model.gradients import assert_gradient_agrees
from tests.model.networks import byte_array, plain
from tests.model.test_perceiver import equations

MAKE = {"transformer": transformer, "vit": vit}
both = pytest.mark.parametrize("kind", MAKE)


def expected(kind, params, inputs, **sizes):
    """Returns the logits [B, classes] of the float64 network."""
    sizes = LAYERS | sizes
    if kind == "transformer":
        run, options = reference.transformer, {}
    else:
        run = reference.vit
        options = {name: sizes.get(name, PATCHES[name]) for name in PATCHES}
    return np.stack(
        [
            run(params, plain(inputs, b), sizes["layers"], sizes["heads"], **options)
            for b in range(len(inputs.content))
        ]
    )


def assert_agrees(kind, inputs, **sizes):
    network = MAKE[kind](**sizes)
    params = parameters(network, inputs)
    wanted = expected(kind, params, inputs, **sizes)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(jax.jit(network.apply)(params, inputs), wanted, rtol=2e-5, atol=2e-5)


@both
@pytest.mark.parametrize(
    "sizes", [{}, dict(layers=3, heads=11), dict(widening=1), dict(remat="block")], ids=str
)
def test_forward_equals_numpy(kind, sizes):
    assert_agrees(kind, byte_array(num_inputs=77), **sizes)


@pytest.mark.parametrize(
    ("grid", "patch"), [((7, 11), 2), ((7, 11), 4), ((8, 12), 4), ((7, 11), 1), ((5, 3), 8)]
)
def test_padded_grids_of_vit_equal_numpy(grid, patch):
    assert_agrees("vit", byte_array(num_inputs=grid[0] * grid[1]), grid=grid, patch=patch)


@both
def test_inputs_of_every_kind_equal_numpy(kind):
    """Tests positions alone, content alone, and positions per example, as in point clouds."""
    assert_agrees(kind, byte_array(num_inputs=77, content=0))
    assert_agrees(kind, byte_array(num_inputs=77, positions=0))
    draw = np.random.default_rng(5)
    own = jnp.asarray(draw.uniform(-1, 1, (2, 77, 10)), jnp.float32)
    assert_agrees(kind, byte_array(num_inputs=77)._replace(positions=own))
    assert_agrees(kind, byte_array(num_inputs=77, content=0)._replace(positions=own))


@pytest.mark.parametrize(
    ("row", "sums"),
    [
        ([1, 10, 100, 1000], [11, 1100]),  # a zero before, a zero after
        ([1, 10, 100, 1000, 10_000], [111, 11_000]),  # the only zero after
    ],
)
def test_padding_by_hand(row, sums):
    """Sums patches of 3 with weights of one."""
    inputs = ByteArray(jnp.asarray(row, jnp.float32)[None, :, None], jnp.zeros([len(row), 0]))

    def forward(x):
        return Patches(1, grid=(1, len(row)), patch=3)(x)

    patches = hk.without_apply_rng(hk.transform(forward))
    ones = {"patches": {"w": jnp.ones([3, 3, 1, 1]), "b": jnp.zeros(1)}}
    np.testing.assert_array_equal(jax.jit(patches.apply)(ones, inputs)[0, :, 0], sums)


@pytest.mark.parametrize(
    ("kind", "remat"),
    [
        ("transformer", "none"),
        ("vit", "block"),
        # Both baselines have the same layers.
        pytest.param("transformer", "block", marks=pytest.mark.slow),
        pytest.param("vit", "none", marks=pytest.mark.slow),
    ],
)
def test_gradient_equals_finite_differences_of_numpy(kind, remat):
    """Compares with central differences of the NumPy network, in random directions."""
    inputs = byte_array(batch=1, num_inputs=77)
    network = MAKE[kind](remat=remat)
    params = parameters(network, inputs)
    loss = lambda p: network.apply(p, inputs).sum()  # noqa: E731
    assert ("remat" in str(jax.make_jaxpr(jax.grad(loss))(params))) == (remat == "block")
    assert_gradient_agrees(network.apply, lambda p: expected(kind, p, inputs), params, inputs)


@both
class TestBfloat16:
    def test_parameters_first_layer_and_head_are_float32(self, kind):
        inputs = byte_array(num_inputs=77)
        network = MAKE[kind](dtype="bfloat16")
        params = jax.eval_shape(network.init, jax.random.key(0), inputs)
        assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        used = [
            (equation.primitive.name, equation.invars[0].aval.dtype.name)
            for equation in equations(jax.make_jaxpr(network.apply)(params, inputs).jaxpr)
            if equation.invars
        ]
        products = [dtype for name, dtype in used if name == "dot_general"]
        assert products.count("bfloat16") == 8  # in a layer
        # The head, and the Transformer's first layer; ViT's consists of two convolutions.
        assert products.count("float32") == (2 if kind == "transformer" else 1)
        convolutions = [d for name, d in used if name == "conv_general_dilated"]
        assert convolutions == ([] if kind == "transformer" else ["float32"] * 2)
        assert {d for name, d in used if name in ("exp", "rsqrt")} == {"float32"}
        assert jax.eval_shape(network.apply, params, inputs).dtype == jnp.float32

    def test_is_near_float32(self, kind):
        inputs = byte_array(num_inputs=77)
        params = parameters(MAKE[kind](), inputs)
        exact = jax.jit(MAKE[kind]().apply)(params, inputs)
        coarse = jax.jit(MAKE[kind](dtype="bfloat16").apply)(params, inputs)
        error = np.abs(coarse - exact).max() / np.abs(exact).max()
        assert 1e-5 < error < 0.05, error


@both
def test_a_new_network_has_a_head_of_zeros(kind):
    inputs = byte_array(num_inputs=77)
    head = jax.jit(lambda: MAKE[kind]().init(jax.random.key(0), inputs)[f"{kind}/head"])()
    assert head["w"].shape == (22, 5)
    assert not np.any(head["w"])
    assert not np.any(head["b"])


def test_vit_is_initialised_as_in_its_paper():
    """Expects positions with standard deviation 0.02, a zero class token and zero biases."""
    inputs = byte_array(num_inputs=77)

    @jax.jit
    def new():
        params = vit(channels=1000).init(jax.random.key(0), inputs)
        return params["vit"], params["vit/patches"]

    embeddings, patches = new()
    assert np.std(embeddings["positions"]) == pytest.approx(0.02, rel=0.02)
    assert not np.any(embeddings["class_token"])
    assert np.std(patches["w"]) == pytest.approx((3 * 3 * 13) ** -0.5, rel=0.02)
    assert not np.any(patches["b"])


def test_shared_positions_are_not_copied_per_example():
    """Their convolution has a batch of one."""
    inputs = byte_array(batch=13, num_inputs=77)
    network = vit()
    jaxpr = jax.make_jaxpr(network.apply)(parameters(network, inputs), inputs).jaxpr
    shapes = [
        equation.invars[0].aval.shape
        for equation in equations(jaxpr)
        if equation.primitive.name == "conv_general_dilated"
    ]
    assert shapes == [(13, 7, 11, 3), (1, 7, 11, 10)]


@pytest.mark.slow
def test_vit_b_16_at_full_size():
    """Compares logits and gradient of 224 x 224 inputs with 258 position channels with NumPy."""
    sizes = dict(grid=(224, 224), patch=16, channels=768, layers=12, heads=12, widening=4)
    inputs = byte_array(batch=1, num_inputs=50_176, positions=258)
    network = vit(1000, **sizes)
    params = parameters(network, inputs)
    wanted = expected("vit", params, inputs, **sizes)[0]

    def loss(p):
        logits = network.apply(p, inputs)[0]
        return -jax.nn.log_softmax(logits)[0], logits

    gradient, logits = jax.jit(jax.grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(logits, wanted, atol=1e-4 * np.abs(wanted).max())
    # The gradient of the head's bias is softmax - onehot.
    softmax = np.exp(wanted - wanted.max())
    softmax /= softmax.sum()
    np.testing.assert_allclose(gradient["vit/head"]["b"], softmax - np.eye(1000)[0], atol=1e-4)
    for path, array in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(array).all(), path
        assert np.any(array), path
