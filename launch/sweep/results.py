"""Results of a sweep's points: read from eval.json, ranked, and written to sweep.csv."""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from launch.sweep.values import SweepError, as_flag

# Flags for the place where a point runs; they may differ between two starts.
_PLACES = ("workdir", "distributed", "coordinator", "num_processes", "process_id")


class Result(NamedTuple):
    """The result of a point, on the held-out part if there is one.

    Attributes:
      metric: 'mAP' or 'top1'.
      figure: value of the metric, from 0 to 1; NaN if training diverged.
      loss: loss in nats; NaN if training diverged.
      held_out: True if the values were measured on the held-out part.
      step: last step; None if the file does not contain it.
      numbers: all measured values by name, including metric and loss.
    """

    metric: str
    figure: float
    loss: float
    held_out: bool
    step: int | None
    numbers: dict[str, float]

    def __str__(self) -> str:
        figure = "nan" if math.isnan(self.figure) else f"{self.figure:.2%}"
        return f"{figure:>7} {self.metric_name}  loss {self.loss:.4f}"

    @property
    def metric_name(self) -> str:
        """Name of the metric, followed by 'held-out' if it was measured on the held-out part."""
        return self.metric + (" held-out" if self.held_out else "")


def result(folder: Path, flags: Sequence[str]) -> Result | None:
    """Reads the result of a point; returns None if it has none yet.

    Raises:
      SweepError: eval.json or config.json is damaged, or comes from a run with other flags.
    """
    file = folder / "eval.json"
    values = _read_json(file)
    if values is None:
        return None
    about = _read_json(folder / "config.json")
    if about is not None:
        _check_flags(folder, about, flags)
    part = values.get("held_out", values)
    if not isinstance(part, dict):
        raise SweepError(f"{file} is no result: its held_out is no object; remove it")
    metric = "mAP" if "mAP" in part else "top1"
    for key in (metric, "loss"):
        if key not in part:
            raise SweepError(f"{file} is no result: it has no {key}; remove it")
    numbers = {key: _number(file, part, key) for key in part if key != "step"}
    step = values.get("step")
    return Result(
        metric,
        numbers[metric],
        numbers["loss"],
        held_out="held_out" in values,
        step=step if isinstance(step, int) else None,
        numbers=numbers,
    )


def _check_flags(folder: Path, about: dict, flags: Sequence[str]) -> None:
    command = about.get("command")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise SweepError(
            f"{folder / 'config.json'} does not have the command of a run; remove it, or use "
            "another --workdir"
        )
    now, then = (
        {x for x in words if x.lstrip("-").partition("=")[0] not in _PLACES}
        for words in (flags, command[1:])
    )
    if now != then:
        lost, gained = (" ".join(sorted(x)) or "nothing" for x in (then - now, now - then))
        raise SweepError(
            f"{folder} is done, but with other flags: {lost} then, {gained} now; use another "
            "--workdir"
        )


def _read_json(path: Path) -> dict | None:
    """Reads a JSON object; returns None if there is no file."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SweepError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise SweepError(f"{path} can't be read: {error}; remove it") from error
    if not isinstance(values, dict):
        raise SweepError(f"{path} is no JSON object; remove it")
    return values


def _number(path: Path, values: dict, key: str) -> float:
    """Returns a number of a file, NaN for null."""
    value = math.nan if values[key] is None else values[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SweepError(f"{path} is no result: its {key} is no number; remove it")
    return value


def ranking(done: Mapping[str, Result]) -> str:
    """Lists names, metrics and losses, the best point first and diverged ones last."""

    def order(name: str) -> tuple:
        found = done[name]
        # NaN compares false with every number and would break the sorting.
        keys = [(math.isnan(x), x) for x in (-found.figure, found.loss)]
        return *((diverged, 0.0 if diverged else x) for diverged, x in keys), name

    width = max(len(name) for name in done)
    return "\n".join(f"{name:{width}}  {done[name]}" for name in sorted(done, key=order))


def swept_values(
    folder: Path, overrides: Mapping[str, object], keys: Sequence[str]
) -> dict[str, str]:
    """Returns a point's value of each swept key, in the format of flags.

    The value of a key that the point does not override comes from the config of its run; it is ''
    before the run has started.
    """
    config = (_read_json(folder / "config.json") or {}).get("config", {})
    values = {}
    for key in keys:
        value = config
        for word in key.split("."):
            value = value.get(word, "") if isinstance(value, dict) else ""
        values[key] = as_flag(overrides.get(key, value))
    return values


class Row(NamedTuple):
    """A point in sweep.csv and the plots; the state is 'done', 'failed', ..."""

    name: str
    values: dict[str, str]
    state: str
    step: int | None
    result: Result | None


def write_csv(path: Path, rows: Sequence[Row], keys: Sequence[str]) -> None:
    """Writes a line for each point: name, swept keys, state, step and measured values."""
    measured = dict.fromkeys(name for row in rows if row.result for name in row.result.numbers)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["name", *keys, "status", "step", *measured])
    for row in rows:
        numbers = row.result.numbers if row.result else {}
        lines.writerow(
            [
                row.name,
                *(row.values[key] for key in keys),
                row.state,
                "" if row.step is None else row.step,
                *(numbers.get(name, "") for name in measured),
            ]
        )
    replace_file(path, text.getvalue().encode())


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file completely, or leaves the old file unchanged.

    Raises:
      SweepError: the file can't be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SweepError(f"{path} can't be written: {error.strerror}") from error
