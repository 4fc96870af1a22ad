"""Finds the folders of runs, and reads and checks their files. Needs no device."""

import json
import math
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.cli.errors import printable
from experiments.run.lock import STALE_SECONDS
from perceiver import run_files
from perceiver.errors import InputError
from perceiver.stored_configs import upgrade
from perceiver.training.logging.metric_kinds import primary_metric
from perceiver.training.logging.metrics import read_metrics, read_timing

_LEVELS = 2  # searched below a given folder: the points of a sweep, or several sweeps
# Keys of config.json that describe the machine and the code instead of the config.
ENVIRONMENT_KEYS = ("versions", "devices", "processes", "cpus", "git")


class RunSummary(NamedTuple):
    """A run and its results; unknown values are None.

    Attributes:
      name: name of the run.
      folder: workdir of the run.
      records: all lines of its metrics, see `read_metrics`.
      state: 'running' while its lock is refreshed, 'done' if it has a result, 'diverged' if its
        last loss is NaN, 'killed' if it left its lock behind, otherwise 'stopped'.
      step: last step that was logged.
      parameters: number of parameters of its network.
      metric: metric for comparing runs, 'top1' or 'mAP'.
      held_out: True if evaluations in training use a held-out part of the training split.
      best: highest value of the metric in evaluation, from 0 to 1.
      best_step: step of the highest value.
      last: last value of the metric in evaluation.
      test: value on the test split, if evaluations in training use the held-out part.
      loss: last training loss, in nats.
      examples_per_second: median over log steps, on all devices together.
      seconds: time spent, summed over restarts; see `Timing`.
      code: git revision.
      settings: values of the config by 'section.key', and versions, devices and revision.
    """

    name: str
    folder: Path
    records: list[dict[str, Any]]
    state: str
    step: float | None
    parameters: float | None
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


def find_runs(arguments: Sequence[str]) -> dict[str, Path]:
    """Finds runs in folders and names them.

    A given run gets the name of its folder; a run below a given folder gets its path within that
    folder. Runs whose names would be equal get their whole paths.

    Args:
      arguments: [NAME=]DIR, where DIR is a workdir or a folder with runs one or two levels below.
        The name of a folder may contain '=', as those of sweeps do: an argument that is the path
        of a folder is never split.

    Returns:
      The folders of the runs by name.

    Raises:
      InputError: a folder does not exist or has no runs, or two NAMEs are equal.
    """
    found: dict[Path, tuple[str, Path]] = {}  # each run once, even if given twice
    given = set()
    for argument in arguments:
        name, equals, rest = argument.partition("=")
        if not equals or Path(argument).expanduser().is_dir():
            name, rest = "", argument
        elif not name or not rest:
            raise InputError(f"{argument!r} is no run; give DIR or NAME=DIR, as in first=runs/a")
        if name in given:
            raise InputError(f"{name!r} names two runs; give each run a different NAME")
        given |= {name} - {""}
        folder = Path(rest).expanduser()
        if not folder.is_dir():
            problem = "is a file" if folder.exists() else "does not exist"
            raise InputError(f"{folder} {problem}; give the workdir of a run, or a folder of them")
        runs = list(_runs_in(folder, _LEVELS))
        if not runs:
            raise InputError(
                f"{folder} has no run in it: neither it nor a folder one or two levels below has a "
                f"{run_files.METRICS} or {run_files.CONFIG}"
            )
        for run in runs:
            below = run.relative_to(folder).as_posix()
            parts = [name, below] if below != "." else [name or folder.resolve().name]
            found.setdefault(run.resolve(), ("/".join(part for part in parts if part), run))
    return _by_name(list(found.values()))


def _by_name(runs: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    """Returns folders by name; an empty or repeated name is replaced by the folder's path."""
    names = [name for name, _ in runs]
    named: dict[str, Path] = {}
    for name, folder in runs:
        name = printable(name if name and names.count(name) == 1 else str(folder))
        if name in named:
            raise InputError(
                f"two runs are called {name!r}, {named[name]} and {folder}; "
                f"name them, as in first={named[name]}"
            )
        named[name] = folder
    return named


def _runs_in(folder: Path, levels: int) -> Iterator[Path]:
    """Yields the folder itself if it is a run, otherwise the runs below it."""
    try:
        files = {file.name: file for file in folder.iterdir()}
    except OSError:
        yield folder  # reading it raises the error that names the file
        return
    if run_files.METRICS in files or run_files.CONFIG in files:
        yield folder
    elif levels:
        for name, below in sorted(files.items()):
            if below.is_dir() and not name.startswith("."):
                yield from _runs_in(below, levels - 1)


def read_summary(name: str, folder: Path) -> RunSummary:
    """Reads the files of a run; an incomplete last line of its metrics is ignored.

    Raises:
      InputError: a file cannot be read, or is damaged.
    """
    try:
        files = [file.name for file in folder.iterdir()]
        records = read_metrics(folder) if run_files.METRICS in files else []
        timing = read_timing(folder)
    except OSError as error:
        raise InputError(f"{error.filename} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(str(error).rstrip(".")) from error
    about, result = (
        _JsonObject.read(folder / file) for file in (run_files.CONFIG, run_files.RESULT)
    )
    settings = _settings(about)
    training = [record for record in records if record["split"] == "train"]
    for record in training:
        if "loss" not in record:
            where = f"{folder / run_files.METRICS}: step {record['step']}"
            raise InputError(f"{where} in training has no loss; remove its line")
    # With a held-out part, evaluations in training are on it, and the rest of eval.json is on the
    # test split.
    evaluated = result.object("held_out") or result
    held_out = evaluated is not result or bool((settings or {}).get("data.held_out"))
    metric = primary_metric([*records, evaluated.values])
    values = [(r["step"], r[metric]) for r in records if r["split"] == "eval" and metric in r]
    if not values and metric in evaluated.values:
        values.append((result.number("step"), evaluated.number(metric)))
    finite = [(step, value) for step, value in values if math.isfinite(value)]
    best_step, best = max(finite, key=lambda pair: pair[1], default=(None, None))
    loss = training[-1]["loss"] if training else None
    batch = (settings or {}).get("train.batch_size")
    return RunSummary(
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
        last=values[-1][1] if values else None,
        test=result.number(metric) if evaluated is not result else None,
        loss=loss,
        examples_per_second=batch / timing.seconds_per_step
        if isinstance(batch, int) and timing.seconds_per_step
        else None,
        seconds=timing.seconds,
        code=about.values.get("git"),
        settings=settings,
    )


def _state(
    folder: Path, records: Sequence[dict[str, Any]], result: "_JsonObject", loss: float | None
) -> str:
    """Returns the state of a run, see `RunSummary`."""
    lock = folder / run_files.LOCK  # empty after a clean end
    held = lock.exists() and lock.stat().st_size > 0
    if held and time.time() - lock.stat().st_mtime < STALE_SECONDS:
        return "running"
    if result.values and not (records and _continued(result, folder / run_files.METRICS, records)):
        return "done"
    if loss is not None and math.isnan(loss):
        return "diverged"
    return "killed" if held else "stopped"


def _continued(result: "_JsonObject", metrics: Path, records: Sequence[dict[str, Any]]) -> bool:
    """Returns whether training went on after the result was written.

    An earlier step alone does not show this: the result may be that of an early checkpoint.
    """
    step = result.number("step")
    if step is None or step >= records[-1]["step"]:
        return False
    return result.path.stat().st_mtime < metrics.stat().st_mtime


def _settings(about: "_JsonObject") -> dict[str, Any] | None:
    """Returns the settings of a run, see `RunSummary`; None without config.json."""
    if not about.values:
        return None
    config = about.object("config")
    if config is None:
        raise InputError(f"{about.path} has no config; it is damaged, or not the file of a run")
    try:
        values = upgrade(config.values)
    except (TypeError, AttributeError) as error:
        raise InputError(f"{about.path} has no config of a run; it is damaged") from error
    environment = {key: about.values[key] for key in ENVIRONMENT_KEYS if key in about.values}
    return dict(_flat(values)) | dict(_flat(environment))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class _JsonObject(NamedTuple):
    """An object of a JSON file; empty if the file does not exist."""

    path: Path
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "_JsonObject":
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
    def _checked(cls, path: Path, value: object) -> "_JsonObject":
        if not isinstance(value, dict):
            found = textwrap.shorten(json.dumps(value), 40)
            raise InputError(f"{path} has {found} where an object belongs; remove it")
        return cls(path, value)

    def object(self, key: str) -> "_JsonObject | None":
        """Returns the object under a key, or None if the key is missing."""
        return self._checked(self.path, self.values[key]) if key in self.values else None

    def number(self, key: str | None) -> float | None:
        """Returns the number under a key: None if the key is missing, NaN for null."""
        if key not in self.values:
            return None
        value = math.nan if self.values[key] is None else self.values[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            found = textwrap.shorten(json.dumps(value), 40)
            raise InputError(f"{self.path} has {key} {found}, which is no number; remove it")
        return value
