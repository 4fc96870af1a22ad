"""Durations: the paper's epochs in steps, and the steps at which an action is due."""

import pytest

from perceiver.training.durations import is_due, to_interval, to_steps

IMAGENET = 1_281_167 / 1024  # steps an epoch


def test_imagenets_epochs_in_steps():
    # 1,281,167 * 120 / 1024 = 150,136.8 and so on, by hand.
    epochs = (84, 102, 114, 120)
    steps = [to_steps(steps=None, epochs=e, steps_per_epoch=IMAGENET) for e in epochs]
    assert steps == [105_096, 127_616, 142_630, 150_137]


def test_steps_take_precedence_over_epochs():
    assert to_steps(steps=50_000, epochs=120, steps_per_epoch=IMAGENET) == 50_000
    assert to_steps(steps=0, epochs=120, steps_per_epoch=IMAGENET) == 0


def test_neither_is_none():
    assert to_steps(steps=None, epochs=None, steps_per_epoch=IMAGENET) is None


def test_a_positive_duration_is_at_least_one_step():
    assert to_steps(steps=None, epochs=1e-6, steps_per_epoch=10) == 1
    assert to_steps(steps=None, epochs=0, steps_per_epoch=10) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps": -1, "epochs": None, "steps_per_epoch": 10},
        {"steps": 1.5, "epochs": None, "steps_per_epoch": 10},
        {"steps": None, "epochs": -0.5, "steps_per_epoch": 10},
        {"steps": None, "epochs": float("nan"), "steps_per_epoch": 10},
        {"steps": None, "epochs": float("inf"), "steps_per_epoch": 10},
        {"steps": None, "epochs": 1, "steps_per_epoch": 0},
    ],
)
def test_impossible_durations_are_errors(arguments):
    with pytest.raises(ValueError, match="not "):
        to_steps(**arguments)


def test_due_at_multiples_and_at_the_last_step():
    assert [s for s in range(1, 12) if is_due(s, 4, last=11)] == [4, 8, 11]
    assert [s for s in range(1, 9) if is_due(s, 4, last=8)] == [4, 8]
    assert [s for s in range(1, 4) if is_due(s, 100, last=3)] == [3]


def test_an_interval_of_one_epoch_is_due_once_per_epoch():
    every = to_interval(steps=None, epochs=1, steps_per_epoch=IMAGENET)
    due = [s for s in range(1, 150_138) if is_due(s, every, last=150_137)]
    assert len(due) == 120
    # The first whole steps after 1, 2 and 120 times 1,281,167 / 1024 = 1,251.14.
    assert (due[0], due[1], due[-1]) == (1252, 2503, 150_137)


def test_an_interval_below_one_step_is_due_at_every_step():
    assert [s for s in range(1, 5) if is_due(s, 0.3, last=9)] == [1, 2, 3, 4]


@pytest.mark.parametrize("every", [None, 0])
def test_without_an_interval_nothing_is_due(every):
    assert not any(is_due(s, every, last=5) for s in range(1, 6))


def test_step_zero_and_negative_intervals_are_errors():
    with pytest.raises(ValueError, match="starts at 1, not 0"):
        is_due(0, 4, last=8)
    with pytest.raises(ValueError, match="not -4"):
        is_due(1, -4, last=8)
