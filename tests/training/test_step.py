"""The training step: state of the model, random keys, and accumulation over parts of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perceiver.training.objectives import OneLabel
from perceiver.training.parallel import AXIS, DataParallel
from perceiver.training.step import Variables, init_state, make_train_step

RATE, B = 0.1, 6


def apply(params, state, rng, batch, is_training):
    """Applies a linear model with optional noise, whose state counts calls and averages inputs."""
    assert is_training
    inputs = batch["x"]
    noise = params["noise"] * jax.random.normal(rng, (inputs.shape[0], 3))
    mean = jax.lax.pmean(inputs.mean(axis=0), AXIS)
    state = {"calls": state["calls"] + 1, "mean": 0.5 * state["mean"] + 0.5 * mean}
    return inputs @ params["w"] + noise, state


def batch(seed=0):
    draw = np.random.default_rng(seed)
    return {"x": np.float32(draw.normal(size=(B, 4))), "label": np.int32(draw.integers(3, size=B))}


def first_state(noise=0.0, ema=False):
    draw = np.random.default_rng(1)
    params = {"w": jnp.asarray(draw.normal(size=(4, 3)), jnp.float32), "noise": jnp.float32(noise)}
    state = {"calls": jnp.int32(0), "mean": jnp.zeros(4)}
    return init_state(Variables(params, state), optax.sgd(RATE), ema=ema)


def steps(state, batches, *, seed=0, accumulate=1, ema_decay=0.0):
    """Runs the step over batches and returns the last state."""
    devices = DataParallel()
    step = devices.map(
        make_train_step(
            apply,
            optax.sgd(RATE),
            optax.constant_schedule(RATE),
            objective=OneLabel(),
            seed=seed,
            ema_decay=ema_decay,
            accumulate=accumulate,
            axis=AXIS,
        )
    )
    state = devices.replicate(state)
    for each in batches:
        state, _ = step(state, devices.shard(each))
    return devices.first(state)


def test_state_is_passed_from_step_to_step():
    batches = [batch(i) for i in range(3)]
    state = steps(first_state(), batches)
    mean = np.zeros(4)
    for each in batches:
        mean = 0.5 * mean + 0.5 * each["x"].mean(axis=0)
    assert state.variables.state["calls"] == 3
    np.testing.assert_allclose(state.variables.state["mean"], mean, rtol=1e-6)
    assert int(state.step) == 3


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulation_gives_the_gradient_of_the_batch_and_updates_the_state_per_part(accumulate):
    each = batch()
    whole, parts = (steps(first_state(), [each], accumulate=n) for n in (1, accumulate))
    np.testing.assert_allclose(
        parts.variables.params["w"], whole.variables.params["w"], rtol=1e-5, atol=1e-6
    )
    mean = np.zeros(4)
    for part in each["x"].reshape(accumulate, -1, 4):
        mean = 0.5 * mean + 0.5 * part.mean(axis=0)
    np.testing.assert_allclose(parts.variables.state["mean"], mean, rtol=1e-5, atol=1e-7)
    assert parts.variables.state["calls"] == accumulate


def test_randomness_depends_on_seed_and_step_only():
    one, same, other = (
        steps(first_state(noise=1.0), [batch()], seed=seed).variables.params["w"]
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    # The same batch at another step gets other noise.
    start = first_state(noise=1.0)
    later = start._replace(step=jnp.int32(7))
    resumed = steps(later, [batch()], seed=3).variables.params["w"]
    assert np.abs(one - resumed).max() > 1e-3


def test_average_covers_parameters_and_state_but_not_integers():
    """The warm-up of the decay keeps 1/10 of the old values at step 0."""
    start = first_state(ema=True)
    state = steps(start, [batch()], ema_decay=0.99)
    old, new = start.variables, state.variables
    averaged = state.for_evaluation()
    np.testing.assert_allclose(
        averaged.params["w"], 0.1 * old.params["w"] + 0.9 * new.params["w"], rtol=1e-5
    )
    np.testing.assert_allclose(averaged.state["mean"], 0.9 * new.state["mean"], rtol=1e-5)
    assert averaged.state["calls"] == 1
    without = steps(first_state(), [batch()])
    np.testing.assert_array_equal(without.for_evaluation().params["w"], new.params["w"])
