"""Sweeps: the points that a file or the command line describes, and their names.

The command line gives values for keys, as in 'model.num_latents=8,16;optimizer.learning_rate=
log10(0.001..0.1)', and has a point for each combination. A file is a JSON object:

    {"about": "Sizes of a small network, on handwritten digits",
     "config": "configs/digits.py",
     "overrides": {"train.epochs": 20.0},
     "points": {"base": {}, "num_latents_8": {"model.num_latents": 8}},
     "grid": {"train.seed": [0, 1, 2], "model.num_latents": "log2(8..64)"},
     "random": {"optimizer.learning_rate": "loguniform(0.001,0.1)"}, "draws": 20, "seed": 0}

Keys are written without `--config.`. 'overrides' are for all points. 'points', 'grid' and 'random'
are optional; the sweep has every combination of those that are given.
"""

import collections
import dataclasses
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from launch.sweep.values import MOST_POINTS, Draw, SweepError, as_flag, read_values, split, unknown

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 100  # letters of a name; file systems allow 255 bytes

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
    """A point of a sweep; its name is that of its folder."""

    number: int
    name: str
    overrides: dict[str, object]

    def __str__(self) -> str:
        return ", ".join(f"{k}={as_flag(v)}" for k, v in self.overrides.items()) or "(no changes)"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The points of a sweep, and the values that they share.

    Attributes:
      about: description of the sweep.
      config: FILE[:variant] of all points.
      overrides: overrides of all points.
      points: the points.
      drawn: True if any value is random.
    """

    about: str
    config: str
    overrides: dict[str, object]
    points: list[Point]
    drawn: bool

    @property
    def keys(self) -> list[str]:
        """The keys that points override."""
        return list(dict.fromkeys(key for point in self.points for key in point.overrides))


def read_sweep(
    text: str, *, config: str | None = None, draws: int | None = None, seed: int | None = None
) -> Sweep:
    """Reads a sweep.

    Args:
      text: a file, relative to the current folder or to the repository root; or keys and values.
      config: FILE[:variant], instead of the one in the file.
      draws: number of random points for each other combination, instead of the one in the file.
      seed: seed of the random values, instead of the one in the file.

    Raises:
      SweepError: the file can't be read, or does not have the format in the module's docstring.
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
                f"{where}: point {name!r} can't name a folder; use letters, digits, '.', '_' and "
                "'-', but not '.' or '-' first and not only digits"
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
    # Draws are the outermost loop, so that more draws leave the first points unchanged.
    combinations = itertools.product(range(draws or 1), named, *grid.values())
    parts = []
    for number, (_, name, *listed) in enumerate(combinations):
        random = {k: v.value(values.get("seed", 0), number, k) for k, v in drawn.items()}
        parts.append((name, dict(zip(grid, listed, strict=True)) | random))
    found = {}
    for called, (own, swept) in zip(names(parts), parts, strict=True):
        found.setdefault(called, named[own] | swept)  # the same values may be drawn twice
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
    """Returns the values of a key of the grid, which must differ."""
    if isinstance(values, str):
        values = read_values(values, key)
    if not isinstance(values, list) or not values:
        raise SweepError(f"{where}: {key} of the grid takes a list, as in [8, 16] or '1..4'")
    flags = set()
    for value in values:
        _overrides({key: value}, f"{where}: grid")
        if as_flag(value) in flags:
            raise SweepError(f"{where}: {key} has the value {as_flag(value)} twice")
        flags.add(as_flag(value))
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
    # Searches the text: importing the file would need the packages of the environment.
    return path.is_file() and "def get_config(" in path.read_text("utf-8", errors="replace")


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Returns an object of JSON; refuses a repeated key, whose first value would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return values


def _not_a_number(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _overrides(values: object, where: str) -> Mapping[str, object]:
    """Returns the overrides if keys are 'section.key' and flags can have the values."""
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


# Names of points, which are the names of their folders.


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Returns the shortest unique ending of each key: 'num_latents' for 'model.num_latents'."""
    keys = list(keys)
    endings = collections.Counter(end for key in keys for end in _endings(key))
    return {key: next((end for end in _endings(key) if endings[end] == 1), key) for key in keys}


def _endings(key: str) -> list[str]:
    """Returns the endings of a key, the shortest first."""
    words = key.split(".")
    return [".".join(words[-n:]) for n in range(1, len(words) + 1)]


def names(points: Sequence[tuple[str, Mapping[str, object]]]) -> list[str]:
    """Returns a name for each point, as in 'wide,learning_rate=0.004,num_latents=16'.

    A name ends with '~' and a hash if letters were replaced, if it was too long, or if another
    name differs only in capitals, which some file systems ignore. No other name has a '~', so all
    names differ.

    Args:
      points: for each point its name in the file, or '', and the overrides that name it.
    """
    short = short_keys(dict.fromkeys(key for _, overrides in points for key in overrides))
    parts = [
        [*([own] if own else []), *(f"{short[key]}={as_flag(x)}" for key, x in overrides.items())]
        for own, overrides in points
    ]
    folded = collections.Counter(",".join(x).casefold() for x in set(map(tuple, parts)))
    return [_name(x, alone=folded[",".join(x).casefold()] == 1) for x in parts]


def _name(parts: Sequence[str], *, alone: bool) -> str:
    name = ",".join(re.sub(r"[^A-Za-z0-9._+=-]+", "_", part) for part in parts)
    if name == ",".join(parts) and len(name) <= _LONGEST and alone:
        return name
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]
    return f"{name[: _LONGEST - 11]}~{digest}"
