"""Sweeps, from a file or as written on the command line: a config, and points around it.

On the command line keys have values, as in 'model.num_latents=8,16;optimizer.learning_rate=
log10(0.001..0.1)': a point for each combination. A file is JSON, with the same and more:

    {"about": "Sizes of a small network, on handwritten digits",
     "config": "configs/digits.py",
     "overrides": {"train.epochs": 20.0},
     "points": {"base": {}, "num_latents_8": {"model.num_latents": 8}},
     "grid": {"train.seed": [0, 1, 2], "model.num_latents": "log2(8..64)"},
     "random": {"optimizer.learning_rate": "loguniform(0.001,0.1)"}, "draws": 20, "seed": 0}

Keys are those behind `--config.`; 'overrides' are for all points. Each of 'points', 'grid' and
'random' may be missing; of those that are there, every one meets every other.
"""

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

from launch.sweep.names import names
from launch.sweep.values import MOST_POINTS, Draw, SweepError, as_flag, read_values, split, unknown

ROOT = Path(__file__).resolve().parents[2]

_TYPES = {
    "about": (str, "text"),
    "config": (str, "text"),
    "overrides": (dict, "an object"),
    "points": (dict, "an object"),
    "grid": (dict, "an object"),
    "random": (dict, "an object"),
    "draws": (int, "a whole number above 0"),
    "seed": (int, "a whole number"),
}


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of a sweep: its place in it, its folder's name, and what it overrides."""

    number: int
    name: str
    overrides: dict[str, object]

    def __str__(self) -> str:
        return ", ".join(f"{k}={as_flag(v)}" for k, v in self.overrides.items()) or "(no changes)"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What is to be trained; `overrides` are those of all points, `drawn` whether any is random."""

    about: str
    config: str
    overrides: dict[str, object]
    points: list[Point]
    drawn: bool

    @property
    def keys(self) -> list[str]:
        """What is swept: every key that a point overrides."""
        return list(dict.fromkeys(key for point in self.points for key in point.overrides))


def read_sweep(
    text: str, *, config: str | None = None, draws: int | None = None, seed: int | None = None
) -> Sweep:
    """Reads a sweep.

    Args:
      text: a file, relative to here or else to the repository root, or the keys and their values.
      config: FILE[:variant], in place of that of the file.
      draws: how many points draw at random for each other combination; likewise.
      seed: of the draws; likewise.

    Raises:
      SweepError: it can't be read, or is not what the module's docstring says.
    """
    path = Path(text)
    if "=" in text and not path.exists():
        where, values = "--sweep", _read_line(text)
    else:
        where = path if path.exists() or not (ROOT / path).exists() else ROOT / path
        values = _read_file(where)
    given = {"config": config, "draws": draws, "seed": seed}
    values |= {key: value for key, value in given.items() if value is not None}
    _check_config(values.get("config"), where)
    drawn = {k: _drawn(k, v, where) for k, v in values.get("random", {}).items()}
    grid = {k: _listed(k, v, where) for k, v in values.get("grid", {}).items()}
    return Sweep(
        about=values.get("about", text),
        config=values["config"],
        overrides=_overrides(values.get("overrides", {}), f"{where}: overrides"),
        points=_points(values, grid, drawn, where),
        drawn=bool(drawn),
    )


def _points(values: dict, grid: dict[str, list], drawn: dict[str, Draw], where: object) -> list:
    named = values.get("points", {"": {}} if grid or drawn else {})
    if not named:
        raise SweepError(f"{where}: no points; give 'points', 'grid' or 'random'")
    for name, own in named.items():
        if name and (not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) or name.isdecimal()):
            raise SweepError(
                f"{where}: point {name!r} can't name a folder; take letters, digits, '.', '_' and "
                "'-', neither '.' nor '-' first and not digits alone"
            )
        twice = sorted(_overrides(own, f"{where}: point {name}").keys() & (grid | drawn).keys())
        if twice:
            raise SweepError(f"{where}: point {name} sets {twice[0]}, which is swept as well")
    if set(grid) & set(drawn):
        raise SweepError(f"{where}: {min(set(grid) & set(drawn))} is both in a list and drawn")
    draws = values.get("draws")
    if bool(drawn) != (draws is not None):
        what = "--draws=N is missing: how many points" if drawn else "--draws, but nothing to"
        raise SweepError(f"{where}: {what} draw at random, as in uniform(0,1)")
    count = len(named) * math.prod(map(len, grid.values())) * (draws or 1)
    if count > MOST_POINTS:
        raise SweepError(f"{where}: {count:,} points are more than {MOST_POINTS:,}")
    # Draws outermost: more of them then leave the points that were there as they were.
    combinations = itertools.product(range(draws or 1), named, *grid.values())
    parts = []
    for number, (_, name, *listed) in enumerate(combinations):
        random = {k: v.value(values.get("seed", 0), number, k) for k, v in drawn.items()}
        parts.append((name, dict(zip(grid, listed, strict=True)) | random))
    found = {}
    for called, (own, swept) in zip(names(parts), parts, strict=True):
        found.setdefault(called, named[own] | swept)  # few numbers may be drawn more than once
    return [Point(number, *item) for number, item in enumerate(found.items())]


def _read_line(text: str) -> dict:
    grid, drawn = {}, {}
    for part in filter(None, split(text, ";")):
        key, equals, values = (x.strip() for x in part.partition("="))
        if not equals:
            raise SweepError(f"--sweep: {part!r} is no KEY=VALUES, as in model.num_latents=8,16")
        if key in grid | drawn:
            raise SweepError(f"--sweep: {key} is there twice")
        _overrides({key: values}, "--sweep")
        read = read_values(values, key)
        (drawn if isinstance(read, Draw) else grid)[key] = values
    return {"grid": grid, "random": drawn}


def _listed(key: str, values: object, where: object) -> list:
    """The values of a key of the grid, each once."""
    if isinstance(values, str):
        values = read_values(values, key)
    if not isinstance(values, list) or not values:
        raise SweepError(f"{where}: {key} of the grid takes a list, as in [8, 16] or '1..4'")
    seen = set()
    for value in values:
        _overrides({key: value}, f"{where}: grid")
        if as_flag(value) in seen:
            raise SweepError(f"{where}: {key} has the value {as_flag(value)} twice")
        seen.add(as_flag(value))
    return values


def _drawn(key: str, text: object, where: object) -> Draw:
    _overrides({key: text}, f"{where}: random")
    draw = read_values(text, key) if isinstance(text, str) else None
    if not isinstance(draw, Draw):
        raise SweepError(f"{where}: {key} is {text!r}; to draw it, write as in 'uniform(0,1)'")
    return draw


def _read_file(path: Path) -> dict:
    try:
        values = json.loads(
            path.read_text("utf-8"), object_pairs_hook=_once_each, parse_constant=_not_a_number
        )
    except FileNotFoundError as error:
        sweeps = (str(x.relative_to(ROOT)) for x in (ROOT / "launch/sweeps").glob("*.json"))
        raise SweepError(
            f"{unknown(str(path), sorted(sweeps), what='sweep file')}; or give KEY=VALUES"
        ) from error
    except OSError as error:
        raise SweepError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise SweepError(f"{path} is not a sweep: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SweepError(f"{path} is not a sweep: give an object of {', '.join(_TYPES)}")
    for key, value in values.items():
        if key not in _TYPES:
            raise SweepError(f"{path}: {unknown(key, _TYPES, what='key')}")
        kind, called = _TYPES[key]
        wrong = not isinstance(value, kind) or isinstance(value, bool)
        if wrong or (key == "draws" and value < 1):
            raise SweepError(f"{path}: {key!r} is {json.dumps(value)}; give {called}")
    if values.get("points") == {}:
        raise SweepError(f"{path}: 'points' is empty; give one at least, as in {{\"base\": {{}}}}")
    if "" in values.get("points", {}):
        raise SweepError(f"{path}: point '' can't name a folder; give it a name")
    return values


def _check_config(spec: str | None, where: object) -> None:
    if not spec:
        raise SweepError(f"--config=FILE is missing, and {where} has none")
    config = spec.partition(":")[0]
    if not _is_config(ROOT / config):
        files = sorted((ROOT / "configs").glob("*.py"))
        configs = [str(file.relative_to(ROOT)) for file in files if _is_config(file)]
        raise SweepError(f"{where}: {unknown(config, configs, what='config')}")


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


def _overrides(values: object, where: str) -> Mapping[str, object]:
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
