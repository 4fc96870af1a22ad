"""Sweep files: a config, and points around it that each are one set of overrides (Figs. 5 and 6).

A file is JSON: what it is about, a config, overrides that all points have, and the points, each a
name and overrides of its own. Keys are those behind `--config.`:

    {"about": "Sizes of a small network, on handwritten digits",
     "config": "configs/digits.py",
     "overrides": {"train.epochs": 20.0},
     "points": {"base": {}, "num_latents_8": {"model.num_latents": 8}}}
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class SweepError(Exception):
    """Wrong input; its message is one line that says what to do."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of a sweep: its place in the file, its folder's name, and what it overrides."""

    number: int
    name: str
    overrides: dict[str, object]

    def __str__(self) -> str:
        return ", ".join(f"{k}={as_flag(v)}" for k, v in self.overrides.items()) or "(no changes)"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep file."""

    about: str
    config: str
    overrides: dict[str, object]
    points: list[Point]


def read_sweep(path: Path) -> Sweep:
    """Reads a sweep file, a relative path from here or else from the repository root.

    Raises:
      SweepError: it can't be read, or is not what the module's docstring says.
    """
    if not path.exists() and (ROOT / path).exists():
        path = ROOT / path
    try:
        values = json.loads(
            path.read_text("utf-8"), object_pairs_hook=_once_each, parse_constant=_not_a_number
        )
    except FileNotFoundError as error:
        sweeps = (str(x.relative_to(ROOT)) for x in (ROOT / "launch/sweeps").glob("*.json"))
        raise SweepError(unknown(str(path), sorted(sweeps), what="sweep file")) from error
    except OSError as error:
        raise SweepError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise SweepError(f"{path} is not a sweep: {' '.join(str(error).split())}") from error
    types = {"about": str, "config": str, "overrides": dict, "points": dict}
    if not isinstance(values, dict):
        raise SweepError(f"{path} is not a sweep: give an object of {', '.join(types)}")
    for key in values:
        if key not in types:
            raise SweepError(f"{path}: {unknown(key, types, what='key')}")
    for key, kind in types.items():
        if not isinstance(values.get(key), kind):
            kind = "text" if kind is str else "an object"
            raise SweepError(f"{path}: {key!r} is {json.dumps(values.get(key))}; give {kind}")
    if not values["points"]:
        raise SweepError(f"{path}: 'points' is empty; give one at least, as in {{\"base\": {{}}}}")
    config = values["config"].partition(":")[0]
    if not _is_config(ROOT / config):
        files = sorted((ROOT / "configs").glob("*.py"))
        configs = [str(file.relative_to(ROOT)) for file in files if _is_config(file)]
        raise SweepError(f"{path}: {unknown(config, configs, what='config')}")
    for name in values["points"]:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) or name.isdecimal():
            raise SweepError(
                f"{path}: point {name!r} can't name a folder; take letters, digits, '.', '_' and "
                "'-', neither '.' nor '-' first and not digits alone"
            )
    return Sweep(
        about=values["about"],
        config=values["config"],
        overrides=_overrides(values["overrides"], f"{path}: overrides"),
        points=[
            Point(number, name, _overrides(overrides, f"{path}: point {name}"))
            for number, (name, overrides) in enumerate(values["points"].items())
        ],
    )


def _is_config(path: Path) -> bool:
    # By its text: importing it would need the packages of the environment.
    return path.is_file() and "def get_config(" in path.read_text("utf-8", errors="replace")


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, in which a key given twice would hide the first."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return values


def _not_a_number(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _overrides(values: object, where: str) -> dict[str, object]:
    """Checked overrides: keys 'section.key', values that a flag can carry."""
    if not isinstance(values, dict):
        raise SweepError(f"{where} is {json.dumps(values)}; give an object of overrides")
    for key, value in values.items():
        if not re.fullmatch(r"[a-z]\w*(\.\w+)+", key) or key.startswith("config."):
            raise SweepError(
                f"{where} has the key {key!r}; give what follows '--config.', as in train.steps"
            )
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, bool | int | float | str):
                raise SweepError(
                    f"{where} has {key}={json.dumps(value)}; give a number, text, true, false, or "
                    "a list of these"
                )
    return values


def as_flag(value: object) -> str:
    """A value as flags of a config are written: a list is a tuple, as in (64.0, 64.0)."""
    return repr(tuple(value)) if isinstance(value, list) else str(value)


def unknown(name: str, valid: Iterable[str], *, what: str) -> str:
    """Says in a line that a name is not valid: the nearest that is, or all of them."""
    valid = list(valid)
    near = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(map(repr, valid))}"
    return f"unknown {what} {name!r}: {hint}"
