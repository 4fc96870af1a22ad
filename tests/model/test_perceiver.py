"""The Haiku network against the NumPy network, under jit."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.byte_array import ByteArray
from tests.model.gradients import assert_gradient_agrees
from tests.model.networks import byte_array, expected, network, parameters

ARRANGEMENTS = [
    dict(num_cross_attends=1, num_towers=3),
    dict(num_cross_attends=2, num_towers=3),
    dict(num_cross_attends=3, num_towers=3),
    dict(num_cross_attends=2, num_towers=4, cross_attends_at_start=True),
    dict(num_cross_attends=4, num_towers=2),
    dict(num_cross_attends=3, num_towers=0),
]


def assert_agrees(sizes, inputs, **options):
    classify, encode = network(sizes, **options)
    params = parameters(classify, inputs)
    logits = jax.jit(classify.apply)(params, inputs)
    wanted = expected(params, inputs, sizes)
    np.testing.assert_allclose(logits, [x for x, _ in wanted], rtol=2e-5, atol=2e-5)
    return params, encode, wanted


def sharings():
    """Yields all arrangements and sharings; mixed sharings of all but one arrangement are slow."""
    for sizes, crosses, towers in itertools.product(ARRANGEMENTS, [True, False], [True, False]):
        marks = [] if crosses == towers or sizes == ARRANGEMENTS[1] else [pytest.mark.slow]
        shared = dict(share_cross_attends=crosses, share_towers=towers)
        yield pytest.param(sizes | shared, marks=marks, id=str(sizes | shared))


@pytest.mark.parametrize("sizes", list(sharings()))
def test_forward_equals_numpy(sizes):
    assert_agrees(sizes, byte_array())


@pytest.mark.parametrize(
    "sizes",
    [
        dict(cross_heads=13),
        dict(self_heads=11),
        dict(dense_widening=4),
        dict(num_latents=1),
        dict(self_attends_per_tower=1),
    ],
    ids=str,
)
def test_sizes_equal_numpy(sizes):
    assert_agrees(sizes, byte_array())


def test_many_input_channels_equal_numpy():
    """Queries, keys and values have min(C, D) channels (App. C)."""
    params, _, _ = assert_agrees({}, byte_array(content=31))
    assert params["perceiver/cross_attend_0/key"]["w"].shape == (41, 22)


def test_positions_of_each_example_equal_numpy():
    draw = np.random.default_rng(5)
    inputs = byte_array()._replace(
        positions=jnp.asarray(draw.uniform(-1, 1, (2, 53, 10)), jnp.float32)
    )
    assert_agrees({}, inputs)


def test_inputs_without_content_equal_numpy():
    """Point clouds have positions only."""
    assert_agrees({}, byte_array(content=0))


def test_rematerialisation_changes_nothing():
    inputs = byte_array()
    gradients = []
    products = {}
    for remat in ("none", "elementwise", "block"):
        classify, _ = network(dict(self_attends_per_tower=1), remat=remat)
        params = parameters(classify, inputs)
        loss = lambda p, f=classify.apply: jnp.square(f(p, inputs)).sum()  # noqa: E731
        gradients.append(jax.jit(jax.grad(loss))(params))
        program = jax.make_jaxpr(jax.grad(loss))(params)
        assert ("remat" in str(program)) == (remat != "none")
        names = [equation.primitive.name for equation in equations(program.jaxpr)]
        products[remat] = names.count("dot_general")
    # Only 'block' computes matrix products again.
    assert products["none"] == products["elementwise"] < products["block"]
    largest = max(np.abs(x).max() for x in jax.tree.leaves(gradients[0]))
    for recomputed in gradients[1:]:
        for got, wanted in zip(*map(jax.tree.leaves, (recomputed, gradients[0])), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6 * largest)


@pytest.mark.parametrize("sizes", [{}, dict(num_cross_attends=2, share_towers=False)], ids=str)
def test_gradient_equals_finite_differences_of_numpy(sizes):
    """Compares with central differences of the NumPy network, in random directions."""
    mask = jnp.asarray(np.random.default_rng(3).random((1, 53)) < 0.7)
    inputs = byte_array(batch=1, mask=mask)
    classify, _ = network(sizes)
    params = parameters(classify, inputs)
    assert_gradient_agrees(classify.apply, lambda p: expected(p, inputs, sizes)[0], params, inputs)


def test_permuting_inputs_with_their_positions_changes_nothing():
    inputs = byte_array()
    classify, _ = network()
    params = parameters(classify, inputs)
    shuffle = np.random.default_rng(2).permutation(53)
    permuted = ByteArray(inputs.content[:, shuffle], inputs.positions[shuffle])
    apply = jax.jit(classify.apply)
    np.testing.assert_allclose(apply(params, permuted), apply(params, inputs), rtol=1e-5, atol=1e-5)
    content_alone = inputs._replace(content=inputs.content[:, shuffle])
    assert np.abs(apply(params, content_alone) - apply(params, inputs)).max() > 1e-2


def test_one_cross_attend_differs_from_eight():
    """The second and later cross-attends affect the logits."""
    inputs = byte_array()
    many, one = ({"num_cross_attends": n, "num_towers": 8} for n in (8, 1))
    params, _, wanted_many = assert_agrees(many, inputs)
    wanted_one = expected(params, inputs, one)
    assert np.abs(wanted_many[0][0] - wanted_one[0][0]).max() > 1e-2


class TestMask:
    mask = jnp.asarray(np.random.default_rng(4).random((3, 53)) < 0.6).at[2].set(False)

    def test_equals_numpy_without_the_masked_inputs(self):
        inputs = byte_array(batch=2, mask=self.mask[:2])
        assert_agrees({}, inputs)

    def test_full_mask_equals_none(self):
        inputs = byte_array()
        classify, _ = network()
        params = parameters(classify, inputs)
        apply = jax.jit(classify.apply)
        full = inputs._replace(mask=jnp.ones((2, 53), bool))
        np.testing.assert_allclose(apply(params, full), apply(params, inputs), rtol=1e-6, atol=1e-6)

    def test_masked_inputs_change_nothing(self):
        """Their values have no effect on output and gradient, which are finite.

        The last example has no valid input.
        """
        inputs = byte_array(batch=3, mask=self.mask)
        classify, _ = network()
        params = parameters(classify, inputs)

        @jax.jit
        def outputs(content, positions):
            def loss(p):
                logits = classify.apply(p, ByteArray(content, positions, self.mask))
                return jnp.square(logits).sum(), logits

            return jax.grad(loss, has_aux=True)(params)

        positions = jnp.broadcast_to(inputs.positions, (3, 53, 10))
        wanted = outputs(inputs.content, positions)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(wanted))
        for junk in (1e6, np.nan, np.inf):
            got = outputs(
                jnp.where(self.mask[..., None], inputs.content, junk),
                jnp.where(self.mask[..., None], positions, junk),
            )
            jax.tree.map(np.testing.assert_array_equal, got, wanted)


class TestAttentionLogits:
    def test_equal_numpy(self):
        sizes = dict(num_cross_attends=4, num_towers=4)
        inputs = byte_array()
        params, encode, reference_outputs = assert_agrees(sizes, inputs)
        encode = jax.jit(encode, static_argnames=("logits_of", "latents_of"))
        for wanted, latents in [
            ((0,), None),
            ((1, 3), None),
            ((0, 1, 2, 3), None),
            ((2,), (6, 0, 6)),
        ]:
            _, maps = encode(params, inputs, logits_of=wanted, latents_of=latents)
            assert sorted(maps) == sorted(wanted)
            for index in wanted:
                expected_logits = np.stack([m[index] for _, m in reference_outputs])
                assert expected_logits.shape == (2, 1, 7, 53)
                expected_logits = expected_logits[:, :, latents or slice(None)]
                assert maps[index].shape == expected_logits.shape
                np.testing.assert_allclose(maps[index], expected_logits, rtol=1e-4, atol=2e-5)

    def test_are_not_returned_unless_requested(self):
        inputs = byte_array()
        classify, encode = network()
        assert encode(parameters(classify, inputs), inputs)[1] == {}

    def test_of_a_missing_cross_attend(self):
        inputs = byte_array()
        classify, encode = network()
        with pytest.raises(ValueError, match="cross-attend 3 is not one of the network's 3"):
            encode(parameters(classify, inputs), inputs, logits_of=(3,))

    def test_of_a_missing_latent(self):
        inputs = byte_array()
        classify, encode = network()
        with pytest.raises(ValueError, match="latent 7 is not one of the network's 7, 0 to 6"):
            encode(parameters(classify, inputs), inputs, logits_of=(0,), latents_of=(2, 7))


def equations(jaxpr):
    """Yields all equations of a program, including those in loops."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


class TestBfloat16:
    def test_only_matrix_products_are_in_bfloat16(self):
        inputs = byte_array()
        classify, _ = network(dtype="bfloat16")
        params = jax.eval_shape(classify.init, jax.random.key(0), inputs)
        assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        taken = {"dot_general": [], "exp": [], "rsqrt": []}
        for equation in equations(jax.make_jaxpr(classify.apply)(params, inputs).jaxpr):
            if equation.primitive.name in taken:
                operand = equation.invars[0].aval
                if operand.ndim > 1:  # ignores LayerNorm's offset times key or value weights
                    taken[equation.primitive.name].append(operand.dtype.name)
        assert taken["dot_general"].count("float32") == 1  # the head
        assert taken["dot_general"].count("bfloat16") > 10
        assert set(taken["exp"]) == set(taken["rsqrt"]) == {"float32"}  # softmax, LayerNorm
        assert jax.eval_shape(classify.apply, params, inputs).dtype == jnp.float32

    def test_is_near_float32(self):
        inputs = byte_array()
        classify, _ = network()
        params = parameters(classify, inputs)
        exact = jax.jit(classify.apply)(params, inputs)
        coarse = jax.jit(network(dtype="bfloat16")[0].apply)(params, inputs)
        error = np.abs(coarse - exact).max() / np.abs(exact).max()
        assert 1e-5 < error < 0.05, error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(dtype="float16"), "unknown dtype 'float16'"),
        (dict(remat="all"), "unknown remat 'all'"),
        (dict(sizes=dict(self_heads=3)), "self_heads is 3, which does not divide"),
        (dict(sizes=dict(cross_heads=2)), "cross_heads is 2, which does not divide"),
        (dict(sizes=dict(num_cross_attends=0)), "num_cross_attends is 0"),
        (dict(sizes=dict(num_towers=-1)), "num_towers is -1"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(options, message):
    inputs = byte_array()
    with pytest.raises(ValueError, match=message):
        network(**options)[0].init(jax.random.key(0), inputs)


def test_shared_towers_are_a_loop():
    """The program of 16 shared towers is as long as that of 4."""
    inputs = byte_array()
    lengths = []
    for n in (4, 16):
        classify, _ = network(dict(num_cross_attends=n, num_towers=n))
        params = parameters(classify, inputs)
        lengths.append(len(str(jax.make_jaxpr(classify.apply)(params, inputs))))
    assert abs(lengths[1] - lengths[0]) < 20


def test_initial_latents_are_truncated_normal():
    """Tests a standard deviation of 0.02 before truncation at 2 standard deviations (App. C)."""
    inputs = byte_array()
    classify, _ = network(dict(num_latents=500, latent_channels=200, latent_init_scale=0.02))
    latents = np.asarray(jax.jit(classify.init)(jax.random.key(0), inputs)["perceiver"]["latents"])
    assert np.abs(latents).max() <= 0.04
    assert np.abs(latents).max() > 0.039
    # scipy.stats.truncnorm(-2, 2).std() = 0.87962566
    assert latents.std() == pytest.approx(0.02 * 0.87962566, rel=0.01)


def test_a_new_network_gives_zero_logits():
    """The head is initialised with zeros."""
    inputs = byte_array()
    classify, _ = network()
    logits = jax.jit(lambda: classify.apply(classify.init(jax.random.key(0), inputs), inputs))()
    assert not np.any(logits)
