"""The progress of a run on a terminal and in a file, by a clock that the test sets."""

import io

import pytest

from perceiver.training.logging import progress
from perceiver.training.logging.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress, "monotonic", lambda: Clock.now)
    return Clock


def test_plain_lines(clock):
    out = io.StringIO()
    with Progress(1437, start=0, examples_per_step=64, stream=out) as shown:
        clock.now += 100  # compilation
        shown.mark(1)
        clock.now += 20
        shown.update(201, {"loss": 0.41, "top1": 0.912})
        shown.message("evaluating")
        clock.now += 5
        shown.update(251, {"loss": 0.40625, "learning_rate": 4e-3})
    # 200 steps of 64 in 20 s; 1,236 steps to go at 10 a second. Then 50 steps of 64 in 5 s.
    assert out.getvalue().splitlines() == [
        "step 201/1437  loss 0.41  accuracy 91.2%  640 examples/s  data 0%  2:04 left",
        "evaluating",
        "step 251/1437  loss 0.4062  learning_rate 0.004  640 examples/s  data 0%  1:59 left",
    ]


def test_the_first_update_starts_a_clock_that_nobody_marked(clock):
    out = io.StringIO()
    shown = Progress(100, start=0, examples_per_step=1000, stream=out)
    clock.now += 500  # compilation and the first ten steps: the speed is unknown
    shown.update(10, {"loss": 2.0})
    clock.now += 1
    shown.update(20, {"loss": 1.0})
    assert out.getvalue().splitlines() == [
        "step 10/100  loss 2",
        "step 20/100  loss 1  10,000 examples/s  data 0%  0:08 left",
    ]


def test_time_left_after_a_resume_counts_this_runs_steps_only(clock):
    out = io.StringIO()
    shown = Progress(50_000, start=40_000, examples_per_step=512, stream=out)
    shown.mark(40_001)
    clock.now += 1000
    shown.update(40_501, {})  # 0.5 steps a second, 9,499 to go: 18,998 s
    assert out.getvalue() == "step 40501/50000  256 examples/s  data 0%  5:16:38 left\n"


def test_time_left_has_the_pauses_in_it_and_the_speed_has_not(clock):
    out = io.StringIO()
    shown = Progress(300, start=0, examples_per_step=10, stream=out)
    shown.mark(0)
    clock.now += 90  # 100 steps and an evaluation
    shown.update(100, {})
    clock.now += 10
    shown.update(200, {})
    assert out.getvalue().splitlines()[-1] == "step 200/300  100 examples/s  data 0%  0:50 left"


def test_the_share_of_the_time_that_the_loop_waited_for_data(clock):
    out = io.StringIO()
    shown = Progress(100, examples_per_step=10, stream=out)
    with shown.waiting_for_data():
        clock.now += 50  # before the clock starts: the first batch
    shown.mark(0)
    for _ in range(10):
        with shown.waiting_for_data():
            clock.now += 0.3
        clock.now += 0.1
    assert shown.update(10, {}) == pytest.approx({"seconds_per_step": 0.4, "data_wait": 0.75})
    clock.now += 5
    assert shown.update(20, {}) == {"seconds_per_step": 0.5, "data_wait": 0.0}
    assert [line.split("  ")[2] for line in out.getvalue().splitlines()] == ["data 75%", "data 0%"]


def test_a_speed_that_is_not_known_is_not_given(clock):
    assert Progress(9, examples_per_step=1, stream=io.StringIO()).update(1, {}) == {}


@pytest.mark.parametrize(
    ("seconds", "text"), [(7, "0:07"), (3599.6, "1:00:00"), (5 * 86400 + 3661, "5 d 01:01:01")]
)
def test_times(clock, seconds, text):
    out = io.StringIO()
    shown = Progress(2, start=0, examples_per_step=1, stream=out)
    shown.mark(0)
    clock.now += seconds
    shown.update(1, {})
    assert out.getvalue().endswith(f"  {text} left\n")


def test_values_that_are_not_finite_are_shown(clock):
    out = io.StringIO()
    nan = float("nan")
    Progress(9, examples_per_step=1, stream=out).update(1, {"loss": nan, "top1": nan})
    assert out.getvalue() == "step 1/9  loss nan  accuracy nan\n"


def test_a_bar_on_a_terminal(clock):
    out = Terminal()
    with Progress(200, start=100, examples_per_step=64, stream=out) as shown:
        shown.mark(100)
        clock.now += 5
        shown.update(150, {"loss": 0.41, "top1": 0.912})
        shown.message("saved step 150")
        shown.update(200, {"loss": 0.4})
    frames = out.getvalue().replace("\n", "\r").split("\r")
    assert any(" 50%|" in frame and "100/200" in frame for frame in frames)  # where it resumed
    values = "loss 0.41  accuracy 91.2%  640 examples/s  data 0%  0:05 left"
    assert any(" 75%|" in frame and "150/200" in frame and values in frame for frame in frames)
    assert "saved step 150" in frames  # on a line of its own
    assert "100%|" in out.getvalue()
    assert out.getvalue().endswith("\n")


def test_the_default_stream_is_standard_error(clock, capsys):
    Progress(9, examples_per_step=1).update(1, {"loss": 1.0})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "step 1/9  loss 1\n")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_inactive_progress_measures_and_writes_nothing(clock, stream):
    out = stream()
    with Progress(9, examples_per_step=1, stream=out, active=False) as shown:
        shown.mark(0)
        clock.now += 2
        assert shown.update(1, {"loss": 1.0}) == {"seconds_per_step": 2.0, "data_wait": 0.0}
        shown.message("evaluating")
    assert out.getvalue() == ""


def test_metrics_without_a_kind_are_shown_by_their_names(clock):
    """Percent comes from the table of metrics, not from the name."""
    out = io.StringIO()
    Progress(9, examples_per_step=1, stream=out).update(1, {"top1": 0.5, "top_speed": 0.5})
    assert out.getvalue() == "step 1/9  accuracy 50.0%  top_speed 0.5\n"
