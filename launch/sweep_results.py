"""What the points of a sweep reached: their eval.json, read and put in a table, the best first."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sweep_files import SweepError


class Result(NamedTuple):
    """What a point reached, on the held-out part where there is one.

    Attributes:
      metric: 'mAP' or 'top1'.
      figure: its value, from 0 to 1; NaN where training diverged.
      loss: in nats; NaN likewise.
      held_out: whether examples were held out, and these are theirs.
    """

    metric: str
    figure: float
    loss: float
    held_out: bool


def result(folder: Path, flags: Sequence[str]) -> Result | None:
    """A done point's result; None where there is none.

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
        raise SweepError(f"{file} is no result, its held_out is no object; remove it")
    metric = "mAP" if "mAP" in part else "top1"
    figure, loss = (_number(file, part, key) for key in (metric, "loss"))
    return Result(metric, figure, loss, held_out="held_out" in values)


def _check_flags(folder: Path, about: dict, flags: Sequence[str]) -> None:
    command = about.get("command")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise SweepError(
            f"{folder / 'config.json'} does not have the command of a run; remove it, or take "
            "another --workdir"
        )
    now, then = ({x for x in y if not x.startswith("--workdir=")} for y in (flags, command[1:]))
    if now != then:
        lost, gained = (" ".join(sorted(x)) or "nothing" for x in (then - now, now - then))
        raise SweepError(
            f"{folder} is done, but with other flags: {lost} then, {gained} now; take another "
            "--workdir"
        )


def _read_json(path: Path) -> dict | None:
    """The object of a file; None where there is no such file."""
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
    """A number of a file; null is one that was not finite."""
    if key not in values:
        raise SweepError(f"{path} is no result, it has no {key}; remove it")
    value = math.nan if values[key] is None else values[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SweepError(f"{path} is no result, its {key} is no number; remove it")
    return value


def table(done: dict[str, Result]) -> str:
    """Names, figures and losses, the best first, those that diverged last."""

    def order(name: str) -> tuple:
        found = done[name]
        # NaN is neither more nor less than a number, and would leave the others unsorted.
        keys = [(math.isnan(x), x) for x in (-found.figure, found.loss)]
        return *((lost, 0.0 if lost else x) for lost, x in keys), name

    width = max(len(name) for name in done)
    lines = []
    for name in sorted(done, key=order):
        figure, loss = done[name].figure, done[name].loss
        shown = "nan" if math.isnan(figure) else f"{figure:.2%}"
        what = done[name].metric + (" held-out" if done[name].held_out else "")
        lines.append(f"{name:{width}}  {shown:>7} {what}  loss {loss:.4f}")
    return "\n".join(lines)
