"""Optimisers against float64 NumPy versions written from the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.errors import InputError
from perceiver.training.optimizer import decayed, ema_update, make_optimizer

STEPS = 6
SHARED = {"weight_decay": 0.1, "clip_norm": 0.0}
ADAM = {"b1": 0.9, "b2": 0.99, "eps": 1e-6}
SETTINGS = {"lamb": SHARED | ADAM, "adamw": SHARED | ADAM, "sgd": SHARED | {"momentum": 0.9}}


def rate(step):
    return 0.02 / (1 + step)


def parameters():
    rng = np.random.default_rng(0)
    return {
        "perceiver/~/linear": {
            "w": rng.normal(size=(5, 3)).astype(np.float32),
            "b": rng.normal(size=3).astype(np.float32),
        },
        "perceiver/~/norm": {"scale": np.ones(7, np.float32), "offset": np.zeros(7, np.float32)},
        "perceiver": {"latents": rng.normal(size=(2, 3)).astype(np.float32)},
        "head": {"w": np.zeros((3, 2), np.float32)},  # of norm 0
        "unused": {"w": np.zeros((4,), np.float32)},  # of norm 0, and so is its gradient
    }


def gradients(step):
    rng = np.random.default_rng(100 + step)
    drawn = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), parameters())
    drawn["unused"]["w"][:] = 0
    return drawn


def run(name, **changed):
    """Returns the parameters after a few jitted steps."""
    optimizer = make_optimizer(name=name, learning_rate=rate, **(SETTINGS[name] | changed))

    @jax.jit
    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    params = parameters()
    state = optimizer.init(params)
    for i in range(STEPS):
        params, state = step(params, state, gradients(i))
    return params


def reference(update, *, clip_norm=0.0):
    """The same with `update(x, g, memory, step, decay) -> (x, memory)` on float64 arrays."""
    params = jax.tree.map(lambda p: p.astype(np.float64), parameters())
    memory = {}
    for step in range(STEPS):
        grads = jax.tree.map(lambda g: g.astype(np.float64), gradients(step))
        norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(grads)))
        for module, named in params.items():
            for name, x in named.items():
                g = grads[module][name]
                if clip_norm:
                    g = g * min(1.0, clip_norm / norm)
                decay = SHARED["weight_decay"] if name == "w" else 0.0
                named[name], memory[module, name] = update(
                    x, g, memory.get((module, name), (0.0, 0.0)), step, decay
                )
    return params


def adam_ratio(g, memory, step):
    b1, b2, eps = ADAM["b1"], ADAM["b2"], ADAM["eps"]
    m = b1 * memory[0] + (1 - b1) * g
    v = b2 * memory[1] + (1 - b2) * g**2
    corrected = (m / (1 - b1 ** (step + 1))) / (np.sqrt(v / (1 - b2 ** (step + 1))) + eps)
    return corrected, (m, v)


def lamb(x, g, memory, step, decay):
    """You et al. 2020, Algorithm 2, with phi the identity."""
    ratio, memory = adam_ratio(g, memory, step)
    direction = ratio + decay * x
    x_norm, norm = np.linalg.norm(x), np.linalg.norm(direction)
    trust = x_norm / norm if x_norm > 0 and norm > 0 else 1.0
    return x - rate(step) * trust * direction, memory


def adamw(x, g, memory, step, decay):
    """Loshchilov and Hutter 2019, Algorithm 2, with the decay scaled by the learning rate."""
    ratio, memory = adam_ratio(g, memory, step)
    return x - rate(step) * (ratio + decay * x), memory


def sgd(x, g, memory, step, decay):
    """Momentum with the L2 term in the gradient, as in He et al. 2016."""
    velocity = SETTINGS["sgd"]["momentum"] * memory[0] + g + decay * x
    return x - rate(step) * velocity, (velocity, 0.0)


@pytest.mark.parametrize(("name", "update"), [("lamb", lamb), ("adamw", adamw), ("sgd", sgd)])
@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_against_numpy(name, update, clip_norm):
    expected = reference(update, clip_norm=clip_norm)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6),
        run(name, clip_norm=clip_norm),
        expected,
    )


def test_decay_applies_to_weights_only():
    assert decayed(parameters()) == {
        "perceiver/~/linear": {"w": True, "b": False},
        "perceiver/~/norm": {"scale": False, "offset": False},
        "perceiver": {"latents": False},
        "head": {"w": True},
        "unused": {"w": True},
    }


def test_the_state_has_the_same_structure_whatever_the_numbers():
    def structure(**changed):
        optimizer = make_optimizer("lamb", learning_rate=rate, **(SETTINGS["lamb"] | changed))
        return jax.tree.structure(optimizer.init(parameters()))

    assert structure() == structure(clip_norm=1.0) == structure(weight_decay=0.0)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match="'adam': did you mean 'adamw'"):
        make_optimizer(name="adam", learning_rate=rate, **SETTINGS["adamw"])


@pytest.mark.parametrize(
    "wrong", [{"b1": 1.0}, {"momentum": -0.1}, {"weight_decay": -1.0}, {"clip_norm": np.nan}]
)
def test_numbers_out_of_range_are_errors(wrong):
    ((key, value),) = wrong.items()
    name = "sgd" if key == "momentum" else "lamb"
    with pytest.raises(ValueError, match=f"{key} must be .* not {value}"):
        make_optimizer(name, learning_rate=rate, **(SETTINGS[name] | wrong))


@pytest.mark.parametrize(
    ("name", "own", "message"),
    [
        ("lamb", ADAM | {"momentum": 0.9}, "optimizer 'lamb' has no key 'momentum'"),
        ("sgd", {"momentum": 0.9, "b1": 0.9}, "optimizer 'sgd' has no key 'b1'"),
        ("sgd", {"moment": 0.9}, "'sgd' has no key 'moment': did you mean 'momentum'"),
        ("adamw", {"b1": 0.9, "eps": 1e-6}, "optimizer 'adamw' needs the key 'b2'"),
    ],
)
def test_keys_of_another_optimiser_are_errors(name, own, message):
    with pytest.raises(InputError, match=message):
        make_optimizer(name, learning_rate=rate, **SHARED, **own)


def test_moving_average_ramps_up_to_its_decay():
    decay = 0.5
    ema, expected = {"w": np.float32([1.0, -2.0])}, np.array([1.0, -2.0])
    update = jax.jit(ema_update, static_argnames="decay")
    for step in range(20):
        params = np.array([step, 0.25 * step])
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * params
        ema = update(ema, {"w": params.astype(np.float32)}, step, decay=decay)
    np.testing.assert_allclose(ema["w"], expected, rtol=1e-6)


def test_moving_average_without_decay_is_the_parameters():
    params = {"w": np.float32([0.1, 1e-20, 1e20])}
    ema = ema_update({"w": np.float32([3.0, 3.0, 3.0])}, params, 1000, 0.0)
    np.testing.assert_array_equal(ema["w"], params["w"])
