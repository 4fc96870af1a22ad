"""What a run measured, as lines of JSON and as TensorBoard events.

`metrics.jsonl` in the working directory has one object a line:
`{"step": 200, "split": "train", "loss": 0.41, ...}`.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceiver.errors import InputError
from perceiver.training.files import disk_errors, replace_file
from perceiver.training.logging.events import EventWriter

METRICS_FILE = "metrics.jsonl"
SPLITS = ("train", "eval")


class MetricLog:
    """Appends metrics to `metrics.jsonl` and to TensorBoard events in one working directory.

    For one process of a run; use as a context manager or call `close`.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int):
        """Opens the log, first taking back what a killed run wrote after its last checkpoint.

        Args:
          workdir: the directory of the run; made if missing.
          resume_step: the step of the restored checkpoint: lines of later steps, and a last line
            cut short, are dropped, and TensorBoard hides its events of later steps. 0 for a new
            run, which keeps nothing.

        Raises:
          InputError: a negative step, or a line of `metrics.jsonl` other than the last that is not
            JSON.
          OSError: the directory cannot be written.
        """
        if resume_step < 0:
            raise InputError(f"resume_step must be at least 0, not {resume_step}.")
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / METRICS_FILE
        if path.exists():
            kept = [
                record for record in _read(path) if resume_step and record["step"] <= resume_step
            ]
            replace_file(path, "".join(_line(record) for record in kept).encode())
        self._path = path
        self._file = path.open("a", encoding="utf-8")
        # The name has only seconds in it, and a quick restart would overwrite the file.
        suffix = f".{os.getpid()}-{resume_step}"
        self._events = EventWriter(workdir, resume_step=resume_step, suffix=suffix)

    def write(self, step: int, split: str, **values: float) -> None:
        """Writes one line, flushed, and a TensorBoard scalar '<split>/<name>' for each value.

        Args:
          step: completed steps.
          split: 'train' or 'eval'.
          **values: Python numbers or NumPy or JAX scalars by name. One that is not finite becomes
            null in the JSON, which has no word for it; TensorBoard gets it as it is.

        Raises:
          InputError: another split.
          TypeError: a value that is not a scalar number.
        """
        if split not in SPLITS:
            raise InputError(f"split must be one of {SPLITS}, not {split!r}.")
        values = {name: _number(name, value) for name, value in values.items()}
        with disk_errors(self._path):
            self._file.write(_line({"step": int(step), "split": split, **values}))
            self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(f"{split}/{name}", value, int(step))

    def write_speed(self, step: int, **values: float) -> None:
        """Writes TensorBoard scalars 'speed/<name>', and no line.

        `metrics.jsonl` is the same for the same config and seed; how long a step took is not.

        Args:
          step: completed steps.
          **values: as in `write`.

        Raises:
          TypeError: a value that is not a scalar number.
        """
        for name, value in values.items():
            self._events.add_scalar(f"speed/{name}", _number(name, value), int(step))

    def close(self) -> None:
        """Flushes and closes both logs; may be called again.

        Raises:
          OSError: one can't be written; it is named.
        """
        try:
            with disk_errors(self._path):
                self._file.close()
        finally:
            self._events.close()

    def __enter__(self) -> "MetricLog":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class NoLog:
    """What a process has that writes no log, as another one does: takes the same, does nothing."""

    def write(self, step: int, split: str, **values: float) -> None:
        """Does nothing."""

    def write_speed(self, step: int, **values: float) -> None:
        """Does nothing."""

    def __enter__(self) -> "NoLog":
        return self

    def __exit__(self, *_) -> None:
        pass


def read_metrics(workdir: str | Path) -> list[dict[str, Any]]:
    """Reads `metrics.jsonl`, without a last line that is still being written or was cut short.

    Returns:
      One dict a line in the order written, with `step` (int), `split` and numbers; null is read as
      NaN.

    Raises:
      FileNotFoundError: the directory has no metrics.
      InputError: a line other than the last is not JSON.
    """
    path = Path(workdir) / METRICS_FILE
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give the working directory of a run.")
    return [
        {key: math.nan if value is None else value for key, value in record.items()}
        for record in _read(path)
    ]


def write_json(path: str | Path, obj: Any) -> None:
    """Writes one object as strict JSON, to a temporary name and then to `path`.

    Args:
      path: the file.
      obj: dicts, lists, strings, numbers, NumPy and JAX scalars and arrays; numbers that are not
        finite become null.

    Raises:
      TypeError: something JSON cannot hold.
      OSError: the file cannot be written; an old one is then left as it was.
    """
    text = json.dumps(_plain(obj), indent=2, allow_nan=False, ensure_ascii=False)
    replace_file(Path(path), (text + "\n").encode())


def _read(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines, without what follows the last line break."""
    *lines, _ = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            record["step"], record["split"]  # or it is no line of ours
        except (ValueError, KeyError, TypeError) as error:
            message = f"{path}, line {number} is no JSON object with a step and a split: remove it."
            raise InputError(message) from error
        records.append(record)
    return records


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(_plain(record), allow_nan=False) + "\n"


def _number(name: str, value: Any) -> float | int:
    array = np.asarray(value)
    if array.ndim or not (np.issubdtype(array.dtype, np.number) or array.dtype.name == "bfloat16"):
        raise TypeError(f"metric {name!r} must be a scalar number, not {value!r}.")
    return array.item()


def _plain(value: Any) -> Any:
    """The same value in what strict JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
