"""Writes and reads the metrics and timing of a run.

Files in the working directory, one JSON object per line:

- `metrics.jsonl`: `{"step": 200, "split": "train", "loss": 0.41, ...}`. Two runs with the same
  config and seed write the same lines.
- `timing.jsonl`: `{"step": 200, "wall_time": 1.8e9, "seconds": 95.2, "seconds_per_step": 0.31,
  "data_wait": 0.02}`. `seconds` is the time spent so far, summed over restarts.

TensorBoard events hold the same numbers.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from perceiver import run_files
from perceiver.errors import InputError
from perceiver.training.files import disk_errors, replace_file
from perceiver.training.logging.events import EventWriter

SPLITS = ("train", "eval")


class MetricLog:
    """Appends metrics and timing to the files of one working directory.

    Use as a context manager or call `close`.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int, active: bool = True):
        """Opens the log and removes the metrics that a killed run wrote after its last checkpoint.

        Args:
          workdir: directory of the run; created if missing.
          resume_step: step of the restored checkpoint. Metrics of later steps are removed, and
            TensorBoard hides its events of later steps. 0 for a new run removes all metrics.
          active: False on processes that must not write: every method then does nothing.

        Raises:
          InputError: resume_step is negative, or a complete line of a file is damaged.
          OSError: the directory cannot be written.
        """
        if resume_step < 0:
            raise InputError(f"resume_step must be at least 0, not {resume_step}.")
        self._active = active
        if not active:
            return
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        self._path = workdir / run_files.METRICS
        if self._path.exists():
            records = _read_lines(self._path, required=("step", "split"))
            retained = [r for r in records if resume_step and r["step"] <= resume_step]
            replace_file(self._path, "".join(_line(record) for record in retained).encode())
        self._file = self._path.open("a", encoding="utf-8")
        self._timing = _TimingFile(workdir / run_files.TIMING, resume_step)
        # The default file name contains only seconds, and a quick restart would overwrite the file.
        suffix = f".{os.getpid()}-{resume_step}"
        self._events = EventWriter(workdir, resume_step=resume_step, suffix=suffix)

    def write(self, step: int, split: str, **values: float) -> None:
        """Writes and flushes one line, and a TensorBoard scalar '<split>/<name>' for each value.

        Args:
          step: number of completed steps.
          split: 'train' or 'eval'.
          **values: Python numbers, or NumPy or JAX scalars, by name. A value that is not finite
            becomes null, because JSON has no NaN; TensorBoard gets the value itself.

        Raises:
          InputError: the split is unknown.
          TypeError: a value is not a scalar number.
        """
        if not self._active:
            return
        if split not in SPLITS:
            raise InputError(f"split must be one of {SPLITS}, not {split!r}.")
        values = {name: _number(name, value) for name, value in values.items()}
        with disk_errors(self._path):
            self._file.write(_line({"step": int(step), "split": split, **values}))
            self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(f"{split}/{name}", value, int(step))

    def write_speed(self, step: int, **values: float) -> None:
        """Writes a line of timing.jsonl, and a TensorBoard scalar 'speed/<name>' for each value.

        Args:
          step: number of completed steps.
          **values: numbers as in `write`; `seconds_per_step` and `data_wait` from `Progress`.

        Raises:
          TypeError: a value is not a scalar number.
        """
        if not self._active:
            return
        values = {name: _number(name, value) for name, value in values.items()}
        self._timing.write(int(step), values)
        for name, value in values.items():
            self._events.add_scalar(f"speed/{name}", value, int(step))

    def close(self) -> None:
        """Flushes and closes all files; may be called again.

        Raises:
          OSError: a file cannot be written; the error names it.
        """
        if not self._active:
            return
        self._active = False
        with contextlib.ExitStack() as stack:  # closes every file, even if one of them fails
            stack.callback(self._events.close)
            stack.callback(self._timing.close)
            stack.enter_context(disk_errors(self._path))
            stack.callback(self._file.close)

    def __enter__(self) -> "MetricLog":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class _TimingFile:
    """Appends lines to timing.jsonl: at the start and end of a process and at each log step."""

    def __init__(self, path: Path, step: int):
        spent = 0.0
        if path.exists():
            records = _read_timing_lines(path)
            spent = records[-1]["seconds"] if records else 0.0
            data = path.read_bytes()
            if not data.endswith(b"\n"):  # an incomplete line of a killed process
                replace_file(path, data[: data.rfind(b"\n") + 1])
        self._path, self._step = path, step
        self._began = time.monotonic() - spent
        self._file = path.open("a", encoding="utf-8")
        self.write(step, {})

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        seconds = time.monotonic() - self._began
        with disk_errors(self._path):
            line = {"step": step, "wall_time": time.time(), "seconds": seconds, **values}
            self._file.write(_line(line))
            self._file.flush()

    def close(self) -> None:
        try:
            self.write(self._step, {})
        finally:
            with disk_errors(self._path):
                self._file.close()


class Timing(NamedTuple):
    """The time that a run took; None if unknown.

    Attributes:
      seconds: total time of all processes of the run. It includes evaluations and compilation,
        and excludes imports and the time between a stop and a restart.
      seconds_per_step: median over log steps.
    """

    seconds: float | None
    seconds_per_step: float | None


def read_timing(workdir: str | Path) -> Timing:
    """Reads `timing.jsonl` without an incomplete last line.

    Args:
      workdir: directory of the run. Runs of earlier versions have no such file.

    Raises:
      InputError: a complete line is damaged.
      OSError: the file cannot be read.
    """
    path = Path(workdir) / run_files.TIMING
    if not path.exists():
        return Timing(None, None)
    records = _read_timing_lines(path)
    per_step = [r["seconds_per_step"] for r in records if "seconds_per_step" in r]
    return Timing(
        seconds=records[-1]["seconds"] if records else None,
        seconds_per_step=median(per_step) if per_step else None,
    )


def read_metrics(workdir: str | Path) -> list[dict[str, Any]]:
    """Reads `metrics.jsonl` without an incomplete last line.

    Returns:
      One dict per line in the order written, with `step` (int), `split` and numbers by name. A null
      is read as NaN.

    Raises:
      FileNotFoundError: the directory has no metrics.
      InputError: a complete line is damaged.
      OSError: the file cannot be read.
    """
    path = Path(workdir) / run_files.METRICS
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give the working directory of a run.")
    records = [
        {key: math.nan if value is None else value for key, value in record.items()}
        for record in _read_lines(path, required=("step", "split"))
    ]
    _check_numbers(path, records)
    return records


def write_json(path: str | Path, obj: Any) -> None:
    """Writes one object as strict JSON to a temporary name, then renames it to `path`.

    Args:
      path: file to write.
      obj: dicts, lists, strings, numbers, NumPy and JAX scalars and arrays. Numbers that are not
        finite become null.

    Raises:
      TypeError: obj contains something that JSON cannot hold.
      OSError: the file cannot be written; an existing file is left unchanged.
    """
    text = json.dumps(_plain(obj), indent=2, allow_nan=False, ensure_ascii=False)
    replace_file(Path(path), (text + "\n").encode())


def _read_lines(path: Path, *, required: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the objects of a file of JSON lines, without an incomplete last line."""
    *lines, _ = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            for key in required:
                record[key]  # a KeyError or TypeError if the line is damaged
        except (ValueError, KeyError, TypeError) as error:
            keys = " and a ".join(required)
            message = f"{path}, line {number} is no JSON object with a {keys}: remove it."
            raise InputError(message) from error
        records.append(record)
    return records


def _read_timing_lines(path: Path) -> list[dict[str, Any]]:
    records = _read_lines(path, required=("step", "seconds"))
    _check_numbers(path, records)
    return records


def _check_numbers(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Raises an InputError if a value other than the split is not a number."""
    for number, record in enumerate(records, start=1):
        for key, value in record.items():
            if key != "split" and (isinstance(value, bool) or not isinstance(value, int | float)):
                line = f"{path}, line {number}"
                raise InputError(f"{line} has {key} {value!r}, which is no number: remove it.")


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(_plain(record), allow_nan=False) + "\n"


def _number(name: str, value: Any) -> float | int:
    array = np.asarray(value)
    if array.ndim or not (np.issubdtype(array.dtype, np.number) or array.dtype.name == "bfloat16"):
        raise TypeError(f"metric {name!r} must be a scalar number, not {value!r}.")
    return array.item()


def _plain(value: Any) -> Any:
    """Converts a value to types of strict JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
