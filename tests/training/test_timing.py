"""The time of a run, read from lines that were written at known times."""

import json

import pytest

from perceiver.errors import InputError
from perceiver.training.logging import metrics
from perceiver.training.logging.metrics import MetricLog, Timing, read_timing


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""

    class Clock:
        now = 1000.0

        @classmethod
        def monotonic(cls):
            return cls.now

        @classmethod
        def time(cls):
            return 1.8e9 + cls.now

    monkeypatch.setattr(metrics, "time", Clock)
    return Clock


def lines(workdir):
    return [json.loads(line) for line in (workdir / "timing.jsonl").read_text().splitlines()]


def write(workdir, *rows):
    """Writes lines (seconds, seconds a step)."""
    records = [
        {"step": i, "wall_time": 1000 + seconds, "seconds": seconds, "seconds_per_step": per_step}
        for i, (seconds, per_step) in enumerate(rows)
    ]
    text = "".join(json.dumps(record) + "\n" for record in records)
    (workdir / "timing.jsonl").write_text(text)


def test_the_time_of_restarts_is_summed_without_the_time_between_them(tmp_path, clock):
    with MetricLog(tmp_path, resume_step=0) as log:
        log.write_speed(1, seconds_per_step=8.0)
        clock.now += 10
        log.write_speed(2, seconds_per_step=1.0)
        clock.now += 20
        log.write_speed(3, seconds_per_step=2.0)
    clock.now += 8000
    with MetricLog(tmp_path, resume_step=2) as log:
        log.write_speed(3, seconds_per_step=4.0)
        clock.now += 5
        log.write_speed(4, seconds_per_step=3.0)
    assert read_timing(tmp_path) == Timing(seconds=35.0, seconds_per_step=3.0)


def test_a_line_has_what_training_measured(tmp_path, clock):
    with MetricLog(tmp_path, resume_step=0) as log:
        log.write(1, "train", loss=9.0)
        clock.now += 2
        log.write_speed(2, seconds_per_step=0.25, data_wait=0.5)
        line = lines(tmp_path)[-1]  # on disk before the log is closed
        clock.now += 3  # the last evaluation
    assert line == {
        "step": 2,
        "wall_time": 1.8e9 + 1002,
        "seconds": 2.0,
        "seconds_per_step": 0.25,
        "data_wait": 0.5,
    }
    assert read_timing(tmp_path) == Timing(5.0, 0.25)


@pytest.mark.parametrize("cut", range(1, 50, 7))
def test_an_incomplete_last_line_is_ignored(tmp_path, cut, clock):
    write(tmp_path, (0, 0.5), (10, 0.5))
    file = tmp_path / "timing.jsonl"
    complete = file.read_bytes()
    write(tmp_path, (0, 0.5), (10, 0.5), (900, 7.0))
    assert len(file.read_bytes()) > len(complete) + 49
    file.write_bytes(file.read_bytes()[: len(complete) + cut])
    assert read_timing(tmp_path) == Timing(10.0, 0.5)
    with MetricLog(tmp_path, resume_step=1):  # a restart continues on a new line
        clock.now += 7
    assert read_timing(tmp_path) == Timing(17.0, 0.5)


@pytest.mark.parametrize("damage", [b"\0" * 64, b"\xff" * 64])
def test_bytes_after_the_last_line_are_ignored(tmp_path, damage):
    write(tmp_path, (0, 0.5), (10, 0.5))
    file = tmp_path / "timing.jsonl"
    file.write_bytes(file.read_bytes() + damage)
    assert read_timing(tmp_path) == Timing(10.0, 0.5)


@pytest.mark.parametrize("line", ["not JSON", "[]", '{"step": 3}', '{"step": 1, "seconds": "x"}'])
def test_a_damaged_line_is_named(tmp_path, line):
    (tmp_path / "timing.jsonl").write_text(f'{{"step": 0, "seconds": 0.0}}\n{line}\n')
    with pytest.raises(InputError, match=r"timing\.jsonl, line 2 (is no JSON object|has seconds)"):
        read_timing(tmp_path)
    with pytest.raises(InputError, match="line 2"):
        MetricLog(tmp_path, resume_step=1)


def test_a_run_without_timing(tmp_path):
    assert read_timing(tmp_path) == Timing(None, None)


def test_an_inactive_log_writes_nothing(tmp_path):
    with MetricLog(tmp_path / "run", resume_step=0, active=False) as log:
        log.write(1, "train", loss=1.0)
        log.write_speed(1, seconds_per_step=0.5)
        log.close()
    assert not (tmp_path / "run").exists()
