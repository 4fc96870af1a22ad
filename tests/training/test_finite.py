"""The first cause of a non-finite loss, in a real training step of two modules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perceiver.training.finite import blame
from perceiver.training.objectives import OneLabel
from perceiver.training.parallel import AXIS, DataParallel
from perceiver.training.step import Variables, init_state, make_train_step


def apply(params, state, rng, batch, is_training):
    """Applies two linear layers; the square root has an infinite slope at 0."""
    del rng, is_training
    hidden = batch["cloud"] @ params["first"]["w"]
    return jnp.sqrt(jnp.abs(hidden)) @ params["last"]["w"], state


def blamed(params, cloud):
    batch = {
        "cloud": np.float32(cloud),
        "image": np.zeros((2, 4), np.uint8),
        "label": np.array([0, 1], np.int32),
    }
    optimizer = optax.sgd(0.1)
    state = init_state(Variables(params, {}), optimizer, ema=False)
    devices = DataParallel()
    step = devices.map(
        make_train_step(
            apply,
            optimizer,
            optax.constant_schedule(0.1),
            objective=OneLabel(),
            seed=0,
            ema_decay=0.0,
            accumulate=1,
            axis=AXIS,
        )
    )
    _, metrics = step(devices.replicate(state), devices.shard(batch))
    flags = devices.first(metrics)["not_finite"]
    return blame(flags, {k: batch[k] for k in ("cloud", "image")}, params)


def parameters(first=1.0, last=1.0):
    return {"first": {"w": jnp.full((3, 4), first)}, "last": {"w": jnp.full((4, 2), last)}}


ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    ("params", "cloud", "expected"),
    [
        (parameters(), ONES, None),
        (parameters(), ONES * [[1], [np.nan]], ("inputs", "cloud")),
        (parameters(last=np.inf), ONES, ("parameters", "last")),
        (parameters(first=np.nan, last=np.inf), ONES, ("parameters", "all 2 parts")),
        (parameters(first=3e19), ONES, ("parameters", "first")),  # its square is infinite
        (parameters(first=1e18, last=1e18), ONES * 1e38, ("loss", "loss")),
        (parameters(), ONES * 0, ("gradient", "first")),
    ],
    ids=[
        "nothing",
        "inputs",
        "parameters of one module",
        "parameters of all",
        "parameters too large",
        "loss",
        "gradient",
    ],
)
def test_the_first_cause_is_named(params, cloud, expected):
    assert blamed(params, cloud) == expected


def test_a_tree_without_modules_and_many_parts():
    flags = np.array([False, True, True])  # parameters, loss, gradient
    assert blame(flags, {}, jax.numpy.zeros(3)) == ("loss", "loss")
    many = {f"module_{i}": {} for i in range(6)}
    flags = np.zeros(13, bool)
    flags[8:12] = True
    assert blame(flags, {}, many) == ("gradient", "module_1, module_2, module_3 and 1 more")
