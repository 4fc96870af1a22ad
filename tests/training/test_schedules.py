"""Learning rates at chosen steps, against numbers from the paper and NumPy."""

import jax
import numpy as np
import pytest

from perceiver.errors import InputError
from perceiver.training import schedules
from perceiver.training.durations import to_steps

STEP = {"boundaries": (), "factor": 0.1}


def learning_rate(name, *, warmup_steps=0, **values):
    """Returns the schedule; the keys of a step schedule have defaults here."""
    own = STEP if name == "step" else {}
    return schedules.learning_rate(name, **(own | values), warmup_steps=warmup_steps)


def at(schedule, *steps):
    """Returns the rates at steps, traced as in an optimiser."""
    return np.asarray(jax.jit(jax.vmap(schedule))(np.asarray(steps, np.int32)))


def test_imagenet_is_divided_by_ten_at_epochs_84_102_and_114():
    epoch = 1_281_167 / 1024
    boundaries = [to_steps(steps=None, epochs=e, steps_per_epoch=epoch) for e in (84, 102, 114)]
    rates = learning_rate(name="step", base=0.004, total_steps=150_137, boundaries=boundaries)
    before_and_after = at(rates, 0, 105_095, 105_096, 127_615, 127_616, 142_629, 142_630, 150_136)
    expected = [4e-3, 4e-3, 4e-4, 4e-4, 4e-5, 4e-5, 4e-6, 4e-6]
    np.testing.assert_array_equal(before_and_after, np.asarray(expected, np.float32))


def test_modelnet40_is_constant():
    rates = learning_rate(name="constant", base=1e-3, total_steps=50_000)
    np.testing.assert_array_equal(at(rates, 0, 1, 49_999), np.full(3, 1e-3, np.float32))


def test_cosine_against_numpy():
    rates = learning_rate(name="cosine", base=0.1, total_steps=1000, warmup_steps=100)
    steps = np.arange(0, 1200, 7)
    rising = 0.1 * steps / 100
    falling = 0.05 * (1 + np.cos(np.pi * np.minimum(1, (steps - 100) / 900)))
    expected = np.where(steps < 100, rising, falling)
    np.testing.assert_allclose(at(rates, *steps), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["constant", "step", "cosine"])
def test_warm_up_is_linear_from_zero(name):
    rates = learning_rate(name=name, base=0.8, total_steps=10_000_000, warmup_steps=4)
    np.testing.assert_allclose(at(rates, 0, 1, 2, 3, 4), [0, 0.2, 0.4, 0.6, 0.8], rtol=1e-6)


def test_a_shortened_run_may_end_before_its_boundaries():
    rates = learning_rate(name="step", base=1.0, total_steps=3, boundaries=(105_096,))
    np.testing.assert_array_equal(at(rates, 0, 1, 2), np.ones(3))


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match="'cosin': did you mean 'cosine'"):
        learning_rate(name="cosin", base=1.0, total_steps=10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base": -1.0}, "not -1.0"),
        ({"total_steps": 0}, "not 0"),
        ({"warmup_steps": -3}, "not -3"),
        ({"name": "cosine", "warmup_steps": 10}, "below total_steps"),
        ({"boundaries": (5, 5)}, "rising"),
        ({"boundaries": (0, 5)}, "positive"),
        ({"factor": 0.0}, "not 0.0"),
    ],
)
def test_values_out_of_range_are_errors(wrong, message):
    with pytest.raises(ValueError, match=message):
        learning_rate(**{"name": "step", "base": 1.0, "total_steps": 10, **wrong})


@pytest.mark.parametrize(
    ("name", "own", "message"),
    [
        (
            "cosine",
            {"boundaries": (5,)},
            "schedule 'cosine' has no key 'boundaries': it has no keys of its",
        ),
        ("constant", {"factor": 0.5}, "schedule 'constant' has no key 'factor'"),
        ("step", {"boundary": (5,)}, "'step' has no key 'boundary': did you mean 'boundaries'"),
        ("step", {"boundaries": (5,)}, "schedule 'step' needs the key 'factor'"),
    ],
)
def test_keys_of_another_schedule_are_errors(name, own, message):
    with pytest.raises(InputError, match=message):
        schedules.learning_rate(name, base=1.0, total_steps=10, warmup_steps=0, **own)
