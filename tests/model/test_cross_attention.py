"""The implementations of cross-attention against NumPy float64, under jit, with gradients."""

import itertools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.architecture import Architecture
from perceiver.attention import IMPLEMENTATIONS
from perceiver.attention.grid import GridInputs
from perceiver.byte_array import ByteArray, GridPositions
from perceiver.fusion import fused
from perceiver.model import Perceiver
from perceiver.positions import grid_fourier_features
from tests.model.gradients import assert_gradient_agrees
from tests.model.networks import SMALL, byte_array, expected, network, parameters

SIZES = dict(num_cross_attends=3, num_towers=3)


def on_grid(batch=2, shape=(5, 11), content=3, mask=None):
    positions = grid_fourier_features(shape, bands=3, max_resolution=(10.0,) * len(shape))
    inputs = byte_array(batch=batch, num_inputs=int(np.prod(shape)), content=content, mask=mask)
    return inputs._replace(positions=positions)


def random_mask(batch, num_inputs):
    return jnp.asarray(np.random.default_rng(3).random((batch, num_inputs)) < 0.6)


KINDS = {
    "grid": on_grid,
    "grid of three dimensions": lambda: on_grid(shape=(3, 4, 5)),
    "masked grid": lambda: on_grid(mask=random_mask(2, 55)),
    "grid without content": lambda: on_grid(content=0),
    "shared positions": byte_array,
    "masked": lambda: byte_array(mask=random_mask(2, 53)),
    "positions of each": lambda: byte_array()._replace(
        positions=jnp.asarray(np.random.default_rng(5).uniform(-1, 1, (2, 53, 10)), jnp.float32)
    ),
}


def assert_maps_equal(got, wanted, mask):
    """Compares the logits of valid inputs."""
    assert got.shape == np.shape(wanted)
    valid = np.ones(got.shape, bool) if mask is None else mask[:, None, None]
    np.testing.assert_allclose(
        np.where(valid, got, 0), np.where(valid, wanted, 0), rtol=1e-4, atol=2e-5
    )


def implementations_and_kinds():
    """Yields all pairs; a pair that repeats another is slow: 'separable' needs a grid."""
    for kind, implementation in itertools.product(KINDS, IMPLEMENTATIONS[1:]):
        same = implementation == "separable" and "grid" not in kind and kind != "masked"
        same |= implementation == "dense" and kind in (
            "grid of three dimensions",
            "grid without content",
        )
        yield pytest.param(implementation, kind, marks=[pytest.mark.slow] if same else [])


@pytest.mark.parametrize(("implementation", "kind"), list(implementations_and_kinds()))
def test_logits_and_maps_equal_numpy(implementation, kind):
    inputs = KINDS[kind]()
    classify, encode = network(SIZES, attention=implementation)
    params = parameters(classify, inputs)
    wanted = expected(params, inputs, SIZES)
    logits = jax.jit(classify.apply)(params, inputs)
    np.testing.assert_allclose(logits, [x for x, _ in wanted], rtol=2e-5, atol=2e-5)
    _, maps = jax.jit(encode, static_argnames="logits_of")(params, inputs, logits_of=(0, 2))
    for index, got in maps.items():
        assert_maps_equal(got, [m[index] for _, m in wanted], inputs.mask)


def test_inputs_that_no_blocks_divide_equal_numpy():
    """2,503 is prime, so the last block is padded."""
    inputs = byte_array(batch=1, num_inputs=2503)
    classify, encode = network(SIZES, attention="blockwise")
    params = parameters(classify, inputs)
    wanted = expected(params, inputs, SIZES)
    latents_and_maps = jax.jit(encode, static_argnames="logits_of")
    _, maps = latents_and_maps(params, inputs, logits_of=(1,))
    assert_maps_equal(maps[1], [m[1] for _, m in wanted], None)
    logits = jax.jit(classify.apply)(params, inputs)
    np.testing.assert_allclose(logits, [x for x, _ in wanted], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS[1:])
def test_several_heads_equal_numpy(implementation):
    inputs = on_grid(content=4)  # 4 + 14 channels
    sizes = SIZES | dict(cross_heads=6)
    classify, _ = network(sizes, attention=implementation)
    params = parameters(classify, inputs)
    logits = jax.jit(classify.apply)(params, inputs)
    wanted = [x for x, _ in expected(params, inputs, sizes)]
    np.testing.assert_allclose(logits, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("implementation", "kind"),
    [
        ("dense", "grid"),
        ("blockwise", "grid"),
        ("blockwise", "masked"),
        ("separable", "grid"),
        # test_perceiver.py tests dense and masked; 'separable' off a grid is blockwise.
        pytest.param("dense", "masked", marks=pytest.mark.slow),
        pytest.param("separable", "masked", marks=pytest.mark.slow),
    ],
)
def test_gradient_equals_finite_differences_of_numpy(implementation, kind):
    inputs = jax.tree.map(lambda x: x[:1], KINDS[kind]()._replace(positions=None))
    inputs = inputs._replace(positions=KINDS[kind]().positions)
    sizes = SIZES | dict(share_towers=False)
    classify, _ = network(sizes, attention=implementation)
    params = parameters(classify, inputs)
    assert_gradient_agrees(classify.apply, lambda p: expected(p, inputs, sizes)[0], params, inputs)


def test_gradients_of_everything_learned_are_those_of_dense():
    """Tests fused inputs: the gradients of modality encodings, content and all parameters."""
    video, audio = on_grid(shape=(3, 4, 5)), byte_array(num_inputs=23, content=1, positions=4)
    sizes = SMALL | SIZES | dict(self_attends_per_tower=1)

    def logits(video_content, audio_content, implementation, remat):
        parts = fused(
            {
                "audio": audio._replace(content=audio_content),
                "video": video._replace(content=video_content),
            },
            channels=2,
            init_scale=1.0,
        )
        return Perceiver(Architecture(**sizes), 5, attention=implementation, remat=remat)(parts)

    made = hk.without_apply_rng(hk.transform(logits))
    contents = (video.content, audio.content)
    init = hk.transform(lambda *c: logits(*c, "dense", "none")).init
    params = jax.eval_shape(init, jax.random.key(0), *contents)
    draw = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: jnp.asarray(draw.normal(size=x.shape) / np.sqrt(x.shape[0]), jnp.float32), params
    )

    def gradients(implementation, remat):
        def loss(params, video, audio):
            return jnp.square(made.apply(params, video, audio, implementation, remat)).sum()

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(params, *contents)

    wanted = gradients("dense", "none")
    largest = max(np.abs(x).max() for x in jax.tree.leaves(wanted))
    assert all(np.abs(x).max() > 1e-4 * largest for x in jax.tree.leaves(wanted[1:]))
    for implementation, remat in [
        ("dense", "block"),
        ("blockwise", "none"),
        ("separable", "block"),
    ]:
        for got, x in zip(
            *map(jax.tree.leaves, (gradients(implementation, remat), wanted)), strict=True
        ):
            np.testing.assert_allclose(got, x, rtol=0, atol=3e-6 * largest, err_msg=implementation)


@pytest.mark.parametrize(
    ("shape", "implementation", "shared"),
    [
        ((6, 11), "dense", True),
        ((6, 11), "blockwise", True),
        ((6, 11), "separable", True),
        ((6, 11), "separable", False),
        ((2, 33), "separable", True),
    ],
    ids=str,
)
def test_unrolled_equals_numpy(shape, implementation, shared):
    """Tests segments of whole rows of a grid, and other segments."""
    inputs = on_grid(shape=shape, mask=random_mask(2, 66))
    sizes = SIZES | dict(unrolled=True, share_cross_attends=shared)
    classify, encode = network(sizes, attention=implementation)
    params = parameters(classify, inputs)
    wanted = expected(params, inputs, sizes, unrolled=True)
    logits = jax.jit(classify.apply)(params, inputs)
    np.testing.assert_allclose(logits, [x for x, _ in wanted], rtol=2e-5, atol=2e-5)
    _, maps = jax.jit(encode, static_argnames="logits_of")(params, inputs, logits_of=(1,))
    assert_maps_equal(maps[1], [m[1] for _, m in wanted], inputs.mask[:, 22:44])


def largest_array(jaxpr):
    """Returns the size of the largest array of a program, including loops."""
    sizes = [0]
    for equation in jaxpr.eqns:
        sizes += [int(np.prod(v.aval.shape)) for v in equation.outvars]
        for value in jax.tree.leaves(
            equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                sizes.append(largest_array(inner))
    return max(sizes)


@pytest.mark.parametrize(
    ("implementation", "limit"), [("auto", 40_000), ("separable", 40_000), ("blockwise", 9_000_000)]
)
def test_no_array_has_all_logits_or_all_positions(implementation, limit):
    """Tests forward pass and gradient with 10 million logits: 448 x 448 pixels, 50 latents."""
    inputs = ByteArray(
        jax.ShapeDtypeStruct((1, 448 * 448, 3), jnp.float32),
        GridPositions(*[jax.ShapeDtypeStruct((448, 38), jnp.float32)] * 2),
    )
    classify, _ = network(dict(num_latents=50), attention=implementation)
    params = jax.eval_shape(classify.init, jax.random.key(0), inputs)
    loss = lambda p, x: jnp.square(classify.apply(p, x)).sum()  # noqa: E731
    program = jax.make_jaxpr(jax.grad(loss))(params, inputs)
    content = 448 * 448 * 4  # 3 channels and the mean
    assert largest_array(program.jaxpr) <= max(content, limit)


def test_auto_is_dense_for_few_logits():
    inputs = on_grid()
    programs = {}
    for implementation in IMPLEMENTATIONS:
        classify, _ = network(SIZES, attention=implementation)
        programs[implementation] = str(
            jax.make_jaxpr(classify.apply)(parameters(classify, inputs), inputs)
        )
    assert programs["auto"] == programs["dense"] != programs["separable"]


def test_unknown_implementation_is_refused():
    inputs = byte_array()
    with pytest.raises(ValueError, match="unknown attention 'flash'"):
        network(attention="flash")[0].init(jax.random.key(0), inputs)


def test_grid_of_one_row_is_written_out():
    """Audio has one axis, so there are no rows to separate from columns."""
    inputs = on_grid(shape=(60,))
    assert len(inputs.positions.rows) == 1
    classify, _ = network(SIZES, attention="separable")
    params = parameters(classify, inputs)
    wanted = [x for x, _ in expected(params, inputs, SIZES)]
    logits = jax.jit(classify.apply)(params, inputs)
    np.testing.assert_allclose(logits, wanted, rtol=2e-5, atol=2e-5)
    assert GridInputs.from_byte_array(inputs).content.shape == (1, 2, 60, 4)
