"""What runs left in their folders: found, read and checked. Needs no device."""

import json
import math
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.cli.errors import printable as shown
from experiments.run.lock import FILE as LOCK_FILE
from experiments.run.lock import STALE_SECONDS
from perceiver.errors import InputError
from perceiver.training.logging.curves import metric_of, read_run
from perceiver.training.logging.events import read_speed
from perceiver.training.logging.metrics import METRICS_FILE

ABOUT_FILE = "config.json"
RESULT_FILE = "eval.json"
_LEVELS = 2  # below a folder that is given: a sweep's points, or sweeps
AROUND = ("versions", "devices", "processes", "cpus", "git")  # of config.json, beside the config


class Run(NamedTuple):
    """A run and what it reached; None where it is not known.

    Attributes:
      name: of the run.
      folder: its workdir.
      records: what it logged.
      state: 'running' while its lock is kept alive, 'done' where it has its result, 'diverged'
        where its last loss is no number, 'killed' where it left its lock behind, else 'stopped'.
      step: the last that was logged.
      parameters: of its network.
      metric: what it goes by, 'top1' or 'mAP'.
      held_out: whether evaluations in training are on a part of the training split set apart.
      best: the highest figure in evaluation, from 0 to 1.
      best_step: where it was reached.
      last: the last figure in evaluation.
      test: the figure on the test split, where evaluations in training were on another part.
      loss: the last in training, in nats.
      examples_per_second: at the median log step, on all devices together.
      seconds: spent, restarts summed; see `Speed`.
      code: the git revision.
      settings: the config's values by 'section.key'; packages, devices and revision.
    """

    name: str
    folder: Path
    records: list[dict[str, Any]]
    state: str
    step: int | None
    parameters: int | None
    metric: str | None
    held_out: bool
    best: float | None
    best_step: int | None
    last: float | None
    test: float | None
    loss: float | None
    examples_per_second: float | None
    seconds: float | None
    code: str | None
    settings: dict[str, Any] | None


def find(arguments: Sequence[str]) -> dict[str, Path]:
    """The runs in folders, by name.

    A run that is given is called as its folder is, those below a folder by their path in it; where
    two would be called the same, both by the whole path.

    Args:
      arguments: [NAME=]DIR, a workdir or a folder with runs one or two levels below. A folder may
        have '=' in its name, as those of sweeps do: what is a folder is one.

    Raises:
      InputError: no such folder, no run in it, or two NAMEs that are the same.
    """
    found: dict[Path, tuple[str, Path]] = {}  # once each, also where it is given twice
    given = set()
    for argument in arguments:
        name, equals, rest = argument.partition("=")
        if not equals or Path(argument).expanduser().is_dir():
            name, rest = "", argument
        elif not name or not rest:
            raise InputError(f"{argument!r} is no run; give DIR or NAME=DIR, as in first=runs/a")
        if name in given:
            raise InputError(f"{name!r} names two runs; give each a NAME of its own")
        given |= {name} - {""}
        folder = Path(rest).expanduser()
        if not folder.is_dir():
            problem = "is a file" if folder.exists() else "does not exist"
            raise InputError(f"{folder} {problem}; give the workdir of a run, or a folder of them")
        runs = list(_runs_in(folder, _LEVELS))
        if not runs:
            raise InputError(
                f"{folder} has no run in it: no {METRICS_FILE} or {ABOUT_FILE}, nor has a folder "
                f"one or two levels below"
            )
        for run in runs:
            below = run.relative_to(folder).as_posix()
            parts = [name, below] if below != "." else [name or folder.resolve().name]
            found.setdefault(run.resolve(), ("/".join(part for part in parts if part), run))
    return _by_name(list(found.values()))


def _by_name(runs: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    names = [name for name, _ in runs]
    named: dict[str, Path] = {}
    for name, folder in runs:
        name = shown(name if name and names.count(name) == 1 else str(folder))
        if name in named:
            raise InputError(
                f"two runs are called {name!r}, {named[name]} and {folder}; "
                f"name them, as in first={named[name]}"
            )
        named[name] = folder
    return named


def _runs_in(folder: Path, levels: int) -> Iterator[Path]:
    """A folder where it is a run, else the runs below it."""
    try:
        files = {file.name: file for file in folder.iterdir()}
    except OSError:
        yield folder  # reading it will say what is wrong, and of which
        return
    if METRICS_FILE in files or ABOUT_FILE in files:
        yield folder
    elif levels:
        for name, below in sorted(files.items()):
            if below.is_dir() and not name.startswith("."):
                yield from _runs_in(below, levels - 1)


def read(name: str, folder: Path) -> Run:
    """Reads a run; a last line of its metrics that is still being written is left aside.

    Raises:
      InputError: a file can't be read, or is not as it should be.
    """
    try:
        files = [file.name for file in folder.iterdir()]
        records = read_run(folder) if METRICS_FILE in files else []
        speed = read_speed(folder)
    except OSError as error:
        raise InputError(f"{error.filename} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(str(error).rstrip(".")) from error
    about, result = (_Object.read(folder / file) for file in (ABOUT_FILE, RESULT_FILE))
    settings = _settings(about)
    trained = [record for record in records if record["split"] == "train"]
    for record in trained:
        if "loss" not in record:
            where = f"{folder / METRICS_FILE}: step {record['step']}"
            raise InputError(f"{where} in training has no loss; remove its line")
    # A run that set examples apart is watched on them; those that end without are in eval.json.
    watched = result.object("held_out") or result
    held_out = watched is not result or bool((settings or {}).get("data.held_out"))
    metric = metric_of([*records, watched.values])
    figures = [(r["step"], r[metric]) for r in records if r["split"] == "eval" and metric in r]
    if not figures and metric in watched.values:
        figures.append((result.number("step"), watched.number(metric)))
    finite = [(step, figure) for step, figure in figures if math.isfinite(figure)]
    best_step, best = max(finite, key=lambda pair: pair[1], default=(None, None))
    loss = trained[-1]["loss"] if trained else None
    batch = (settings or {}).get("train.batch_size")
    return Run(
        name,
        folder,
        records,
        state=_state(folder, records, result, loss),
        step=records[-1]["step"] if records else result.number("step"),
        parameters=about.number("parameters"),
        metric=metric,
        held_out=held_out,
        best=best,
        best_step=best_step,
        last=figures[-1][1] if figures else None,
        test=result.number(metric) if watched is not result else None,
        loss=loss,
        examples_per_second=batch / speed.seconds_per_step
        if isinstance(batch, int) and speed.seconds_per_step
        else None,
        seconds=speed.seconds,
        code=about.values.get("git"),
        settings=settings,
    )


def _state(
    folder: Path, records: Sequence[dict[str, Any]], result: "_Object", loss: float | None
) -> str:
    """See `Run`."""
    lock = folder / LOCK_FILE  # empty once it was given back
    held = lock.exists() and lock.stat().st_size > 0
    if held and time.time() - lock.stat().st_mtime < STALE_SECONDS:
        return "running"
    if result.values and not (records and _went_on(result, folder / METRICS_FILE, records)):
        return "done"
    if loss is not None and math.isnan(loss):
        return "diverged"
    return "killed" if held else "stopped"


def _went_on(result: "_Object", metrics: Path, records: Sequence[dict[str, Any]]) -> bool:
    """Whether a run was resumed after it had its result; that may be of an early checkpoint too."""
    step = result.number("step")
    if step is None or step >= records[-1]["step"]:
        return False
    return result.path.stat().st_mtime < metrics.stat().st_mtime


def _settings(about: "_Object") -> dict[str, Any] | None:
    if not about.values:
        return None
    config = about.object("config")
    if config is None:
        raise InputError(f"{about.path} has no config; it is not of a run, or damaged")
    around = {key: about.values[key] for key in AROUND if key in about.values}
    return dict(_flat(config.values)) | dict(_flat(around))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class _Object(NamedTuple):
    """The object of a JSON file, or of a part of it; empty where there is no such file."""

    path: Path
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "_Object":
        try:
            return cls._checked(path, json.loads(path.read_bytes()))
        except FileNotFoundError:
            return cls(path, {})
        except OSError as error:
            raise InputError(f"{path} can't be read: {error.strerror}") from error
        except InputError:
            raise
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is damaged, it is not JSON ({error}); remove it") from error

    @classmethod
    def _checked(cls, path: Path, value: object) -> "_Object":
        if not isinstance(value, dict):
            found = textwrap.shorten(json.dumps(value), 40)
            raise InputError(f"{path} has {found} where an object belongs; remove it")
        return cls(path, value)

    def object(self, key: str) -> "_Object | None":
        """A part; None where there is none."""
        return self._checked(self.path, self.values[key]) if key in self.values else None

    def number(self, key: str | None) -> float | None:
        """A number, None where there is none; null is one that was not finite."""
        if key not in self.values:
            return None
        value = math.nan if self.values[key] is None else self.values[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            found = textwrap.shorten(json.dumps(value), 40)
            raise InputError(f"{self.path} has {key} {found}, which is no number; remove it")
        return value
