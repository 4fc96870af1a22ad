"""Tables of runs: their results, the settings that differ, and means over seeds."""

import datetime as dt
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from experiments.cli.errors import printable
from experiments.run.records import ENVIRONMENT_KEYS, RunSummary
from perceiver.training.logging.metric_kinds import EXACT_SHARE, LOSS, METRIC_KINDS

SEED = "train.seed"
ABSENT = "-"  # shown in tables for an unknown value
_LONGEST = 40  # characters of a value; the middle of a longer one becomes an ellipsis
_MARKDOWN = frozenset("\\`*_[]<>|~$&")

Cells = list[list[str]]  # rows of text, the first is the heading


class OverSeeds(NamedTuple):
    """Runs that differ in the seed only.

    Attributes:
      settings: settings in which the group differs from the other runs.
      seeds: seeds in order.
      metric: name of the metric, see `metric_label`.
      last: mean of the last values in evaluation.
      last_deviation: sample standard deviation (n - 1) of the last values.
      best: mean of the best values in evaluation.
      best_deviation: sample standard deviation (n - 1) of the best values.
    """

    settings: dict[str, Any]
    seeds: list[Any]
    metric: str
    last: float
    last_deviation: float
    best: float
    best_deviation: float


def metric_label(run: RunSummary) -> str | None:
    """Returns the name of a run's metric, for example 'held-out top-1'; None without a metric."""
    if run.metric is None:
        return None
    return ("held-out " if run.held_out else "") + METRIC_KINDS[run.metric].label


def in_order(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Returns the runs by metric, the highest last value first and runs that diverged last."""

    def key(run: RunSummary) -> tuple:
        last = run.last if run.last is not None and math.isfinite(run.last) else None
        label = metric_label(run)
        failed = last is None or run.state == "diverged"
        return (label is None, label or "", failed, 0 if last is None else -last, run.name)

    return sorted(runs, key=key)


def differences(runs: Sequence[RunSummary]) -> dict[str, dict[str, Any]]:
    """Returns the settings that are not the same in all runs: {key: {name of the run: value}}.

    A run that lacks a key is missing under that key. Runs without settings are left out.
    """
    known = [(run.name, run.settings) for run in runs if run.settings is not None]
    keys = {key for _, settings in known for key in settings}
    found = {
        key: {name: settings[key] for name, settings in known if key in settings}
        for key in sorted(keys, key=lambda key: (not _is_config(key), key))
    }
    return {
        key: values
        for key, values in found.items()
        if len(values) < len(known) or len({str(value) for value in values.values()}) > 1
    }


def over_seeds(runs: Sequence[RunSummary]) -> list[OverSeeds]:
    """Returns means over the seeds of runs that are done, the highest first.

    Runs form a group if their configs (without the seed) and the revisions of their code are
    equal. Their packages and machines may differ.
    """
    groups: dict[str, list[RunSummary]] = defaultdict(list)
    for run in runs:
        settings = run.settings or {}
        if run.state == "done" and run.last is not None and SEED in settings:
            shared = {key: x for key, x in settings.items() if _defines_group(key)}
            groups[json.dumps([shared, metric_label(run)], sort_keys=True)].append(run)
    differing = [key for key in differences(runs) if _defines_group(key)]
    found = []
    for group in groups.values():
        first, label = group[0].settings or {}, metric_label(group[0])
        assert label is not None  # a run with a last value has a metric
        seeds = sorted(
            {str((run.settings or {})[SEED]) for run in group}, key=lambda x: (len(x), x)
        )
        if len(seeds) < 2 or len(seeds) < len(group):  # a seed that ran twice would count twice
            continue
        last, best = (
            [math.nan if value is None else value for value in values]
            for values in zip(*((run.last, run.best) for run in group), strict=True)
        )
        found.append(
            OverSeeds(
                {key: first[key] for key in differing if key in first},
                seeds,
                label,
                *(of(values) for values in (last, best) for of in (statistics.fmean, _deviation)),
            )
        )
    return sorted(found, key=lambda group: (group.metric, -group.last))


def _defines_group(key: str) -> bool:
    """Returns whether runs that differ in the seed only have the same value of a setting."""
    return key != SEED and (_is_config(key) or key == "git")


def _is_config(key: str) -> bool:
    return key.partition(".")[0] not in ENVIRONMENT_KEYS


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def run_cells(runs: Sequence[RunSummary]) -> Cells:
    """Returns the table of results; columns without any value are left out."""
    labels = {metric_label(run) for run in runs} - {None}
    metric = labels.pop() if len(labels) == 1 else "figure"
    columns: list[tuple[str, Callable[[RunSummary], str]]] = [
        ("run", lambda run: run.name),
        ("metric", lambda run: (metric_label(run) if labels else None) or ABSENT),
        (f"last {metric}", lambda run: share(run.last)),
        ("best", lambda run: share(run.best)),
        ("at step", lambda run: number(run.best_step, ",")),
        ("test", lambda run: share(run.test)),
        ("loss", lambda run: loss(run.loss)),
        ("step", lambda run: number(run.step, ",")),
        ("parameters", lambda run: number(run.parameters, ",")),
        ("examples/s", lambda run: number(run.examples_per_second, ",.3g", whole_from=100)),
        ("time", lambda run: clock(run.seconds)),
        ("state", lambda run: run.state),
        ("code", lambda run: _revision(run.code)),
    ]
    always = ("run", f"last {metric}", "best", "loss", "step", "state")
    filled = [
        (header, show)
        for header, show in columns
        if header in always or any(show(run) != ABSENT for run in runs)
    ]
    return [
        [header for header, _ in filled],
        *([show(run) for _, show in filled] for run in runs),
    ]


def difference_cells(found: dict[str, dict[str, Any]], names: Sequence[str]) -> Cells:
    """Returns the table of settings that differ, with a row per run or per key: the narrower one.

    Args:
      found: result of `differences`.
      names: names of the runs.
    """
    rows = [
        ["run", *found],
        *(
            [
                name,
                *(value(of[name], key) if name in of else ABSENT for key, of in found.items()),
            ]
            for name in names
        ),
    ]
    turned = [["setting", *(row[0] for row in rows[1:])]]
    turned += [[key, *(row[i] for row in rows[1:])] for i, key in enumerate(found, start=1)]
    return min(rows, turned, key=lambda cells: sum(_widths(cells)))


def seed_cells(groups: Sequence[OverSeeds]) -> Cells:
    """Returns the table of means over seeds."""
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    return [
        ["seeds", *keys, "metric", "last", "best"],
        *(
            [
                ", ".join(group.seeds),
                *(value(group.settings[k], k) if k in group.settings else ABSENT for k in keys),
                group.metric,
                f"{share(group.last)} ± {share(group.last_deviation)}",
                f"{share(group.best)} ± {share(group.best_deviation)}",
            ]
            for group in groups
        ),
    ]


def text(cells: Cells) -> str:
    """Returns a table as text, with the first column aligned left and the other columns right."""
    widths = _widths(cells)
    return "\n".join(
        "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip()
        for first, *rest in cells
    )


def markdown(cells: Cells) -> str:
    """Returns a table in GitHub's Markdown, with special characters escaped."""
    head, *rows = ([_escaped(cell) for cell in row] for row in cells)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def value(setting: Any, key: str = "") -> str:
    """Returns the value of a setting as text of limited length."""
    text = printable(_revision(setting) if key == "git" else str(setting))
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2 - 2]}...{text[1 - _LONGEST // 2 :]}"


def number(x: float | None, spec: str, whole_from: float = math.inf) -> str:
    """Returns a number as text, '-' for None.

    Args:
      x: the number.
      spec: format specification.
      whole_from: smallest number that is shown without decimals.
    """
    if x is None:
        return ABSENT
    return "nan" if math.isnan(x) else format(x, ",.0f" if x >= whole_from else spec)


def share(x: float | None) -> str:
    """Returns a value of the primary metric, a fraction of 1, as percent; '-' for None."""
    return number(x, EXACT_SHARE)


def loss(x: float | None) -> str:
    """Returns a loss as text, '-' for None."""
    return number(x, LOSS.exact)


def clock(seconds: float | None) -> str:
    """Returns a time as 0:20:44, '-' for None."""
    return ABSENT if seconds is None else str(dt.timedelta(seconds=round(seconds)))


def _revision(code: Any) -> str:
    """Returns a git revision shortened to ten digits, with its mark for local changes."""
    if not code:
        return ABSENT
    revision, plus, changes = str(code).partition("+")
    return printable(revision[:10] + plus + changes[:10])


def _widths(cells: Cells) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _escaped(cell: str) -> str:
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in cell)
