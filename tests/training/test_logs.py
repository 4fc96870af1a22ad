"""Metrics on disk: strict JSON lines, TensorBoard events, and the lines that a resume removes."""

import json
import math
import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from perceiver.training.logging.metrics import MetricLog, read_metrics, write_json


def strict_lines(workdir):
    """Every line, read by a parser that refuses NaN and Infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = (workdir / "metrics.jsonl").read_text()
    assert text.endswith("\n") or not text
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def events(workdir):
    """Returns (tag, step, value) of all events and the step of each restart, oldest first."""
    scalars, restarts = [], []
    for path in sorted(workdir.glob("events.out.tfevents.*"), key=os.path.getmtime):
        data = path.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            length = int.from_bytes(data[:8], "little")
            assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            scalars += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            if event.HasField("session_log"):
                restarts.append(event.step)
            data = data[16 + length :]
    return scalars, restarts


def test_one_line_a_write(tmp_path):
    with MetricLog(tmp_path / "run", resume_step=0) as log:
        log.write(200, "train", loss=jnp.float32(0.1), learning_rate=4e-3, examples=np.int64(9))
        # On disk before the log is closed, as a run that is killed needs it.
        assert len(strict_lines(tmp_path / "run")) == 1
        log.write(200, "eval", accuracy=np.float32(0.5))
    assert strict_lines(tmp_path / "run") == [
        {
            "step": 200,
            "split": "train",
            "loss": float(np.float32(0.1)),  # exact
            "learning_rate": 4e-3,
            "examples": 9,
        },
        {"step": 200, "split": "eval", "accuracy": 0.5},
    ]
    assert read_metrics(tmp_path / "run") == strict_lines(tmp_path / "run")
    scalars, _ = events(tmp_path / "run")
    assert ("eval/accuracy", 200, 0.5) in scalars
    assert {tag for tag, _, _ in scalars} == {
        "train/loss",
        "train/learning_rate",
        "train/examples",
        "eval/accuracy",
    }


def test_speed_is_not_in_the_metrics(tmp_path):
    """Two runs of one seed write the same metrics."""
    with MetricLog(tmp_path, resume_step=0) as log:
        log.write(5, "train", loss=1.0)
        log.write_speed(5, seconds_per_step=0.25, data_wait=0.5)
    assert strict_lines(tmp_path) == [{"step": 5, "split": "train", "loss": 1.0}]
    scalars, _ = events(tmp_path)
    assert ("speed/seconds_per_step", 5, 0.25) in scalars
    assert ("speed/data_wait", 5, 0.5) in scalars


def test_values_that_are_not_finite_are_null_and_read_as_nan(tmp_path):
    with MetricLog(tmp_path, resume_step=0) as log:
        log.write(1, "train", loss=float("nan"), norm=jnp.inf, low=-np.inf, fine=1.0)
    (line,) = strict_lines(tmp_path)
    assert line == {
        "step": 1,
        "split": "train",
        "loss": None,
        "norm": None,
        "low": None,
        "fine": 1.0,
    }
    (record,) = read_metrics(tmp_path)
    assert all(math.isnan(record[name]) for name in ("loss", "norm", "low"))


def test_a_resumed_run_removes_the_lines_after_its_checkpoint(tmp_path):
    with MetricLog(tmp_path, resume_step=0) as log:
        for step in (10, 20, 30, 40):
            log.write(step, "train", loss=step / 3)
        log.write(20, "eval", accuracy=float("nan"))
    before = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 50, "split": "tr')  # cut short
    with MetricLog(tmp_path, resume_step=20) as log:
        log.write(30, "train", loss=7.0)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert lines[:3] == [before[0], before[1], before[4]]  # to the byte
    assert [json.loads(line) for line in lines[3:]] == [{"step": 30, "split": "train", "loss": 7.0}]
    assert not list(tmp_path.glob(".*tmp*"))
    assert events(tmp_path)[1] == [0, 21]  # TensorBoard hides events from there on


def test_a_new_run_keeps_nothing(tmp_path):
    for _ in range(2):
        with MetricLog(tmp_path, resume_step=0) as log:
            log.write(0, "eval", accuracy=0.1)
    assert len(strict_lines(tmp_path)) == 1


def test_a_half_written_last_line_is_not_read(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "split": "train", "loss": 2.0}\n{"st')
    assert read_metrics(tmp_path) == [{"step": 1, "split": "train", "loss": 2.0}]


@pytest.mark.parametrize("line", ["not JSON", "[]", "{}", '{"step": 3}'])
def test_a_broken_line_before_the_last_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "split": "eval"}}\n{line}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is no JSON object"):
        read_metrics(tmp_path)
    with pytest.raises(ValueError, match="line 2"):
        MetricLog(tmp_path, resume_step=1)


def test_without_metrics_the_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metrics.jsonl does not exist: give"):
        read_metrics(tmp_path)


def test_wrong_writes_are_refused_and_leave_no_line(tmp_path):
    with MetricLog(tmp_path, resume_step=0) as log:
        with pytest.raises(ValueError, match="not 'validation'"):
            log.write(1, "validation", loss=1.0)
        with pytest.raises(TypeError, match="metric 'loss' must be a scalar"):
            log.write(1, "train", loss=np.ones(2))
        with pytest.raises(TypeError, match="metric 'loss' must be a scalar"):
            log.write(1, "train", loss="low")
    assert strict_lines(tmp_path) == []
    with pytest.raises(ValueError, match="not -1"):
        MetricLog(tmp_path, resume_step=-1)


def test_lines_survive_a_kill(tmp_path):
    script = """
import os, signal, sys
from perceiver.training.logging.metrics import MetricLog
log = MetricLog(sys.argv[1], resume_step=0)
for step in range(1, 6):
    log.write(step, "train", loss=1 / step)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert [line["step"] for line in strict_lines(tmp_path)] == [1, 2, 3, 4, 5]


def test_write_json_is_strict(tmp_path):
    path = tmp_path / "eval.json"
    write_json(path, {"old": True})
    write_json(
        path,
        {"a": np.float32(0.5), "b": [np.nan, (1, jnp.int32(2))], "c": np.eye(2), 3: "naïve"},
    )
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {
        "a": 0.5,
        "b": [None, [1, 2]],
        "c": [[1.0, 0.0], [0.0, 1.0]],
        "3": "naïve",
    }
    assert "NaN" not in text
    assert list(tmp_path.iterdir()) == [path]


def test_write_json_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "eval.json"
    write_json(path, {"accuracy": 0.5})
    with pytest.raises(TypeError):
        write_json(path, {"accuracy": object()})
    assert json.loads(path.read_text()) == {"accuracy": 0.5}
    with pytest.raises(FileNotFoundError):
        write_json(tmp_path / "missing" / "eval.json", {})
