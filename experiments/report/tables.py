"""Tables of runs: what each reached, where their settings differ, and means over seeds."""

import datetime as dt
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from experiments.cli.errors import printable as shown
from experiments.run.records import AROUND, Run

METRICS = {"top1": "top-1", "mAP": "mAP"}
SEED = "train.seed"
ABSENT = "-"  # in a table, of what is not known
_LONGEST = 40  # characters of a value; more are left out of its middle
_MARKDOWN = frozenset("\\`*_[]<>|~$&")

Cells = list[list[str]]  # rows of text, the first is the heading


class OverSeeds(NamedTuple):
    """Runs that are alike but for the seed.

    Attributes:
      settings: those in which they differ from the other runs.
      seeds: in order.
      metric: what it is, in words.
      last: the mean of the last figures.
      last_deviation: the standard deviation of a run (over n - 1).
      best: the mean of the best figures.
      best_deviation: likewise.
    """

    settings: dict[str, Any]
    seeds: list[Any]
    metric: str
    last: float
    last_deviation: float
    best: float
    best_deviation: float


def metric_in_words(run: Run) -> str | None:
    """'top-1', 'held-out top-1' and so on."""
    if run.metric is None:
        return None
    return ("held-out " if run.held_out else "") + METRICS[run.metric]


def in_order(runs: Sequence[Run]) -> list[Run]:
    """The runs, the highest last figure first; those with the same metric together.

    What diverged comes after what did not.
    """

    def key(run: Run) -> tuple:
        known = run.last is not None and math.isfinite(run.last)
        words = metric_in_words(run)
        failed = not known or run.state == "diverged"
        return (words is None, words or "", failed, -run.last if known else 0, run.name)

    return sorted(runs, key=key)


def differences(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """The settings that are not the same in all runs: {key: {name of the run: value}}.

    A run without the key is not among its names; one without settings is left aside.
    """
    known = [run for run in runs if run.settings is not None]
    keys = {key for run in known for key in run.settings}
    found = {
        key: {run.name: run.settings[key] for run in known if key in run.settings}
        for key in sorted(keys, key=lambda key: (not _is_config(key), key))
    }
    return {
        key: values
        for key, values in found.items()
        if len(values) < len(known) or len({_text(value) for value in values.values()}) > 1
    }


def over_seeds(runs: Sequence[Run]) -> list[OverSeeds]:
    """Means over runs that differ in the seed alone, of those that are done, the highest first.

    Packages and machines aside: alike are the config and the revision of the code.
    """
    groups = defaultdict(list)
    for run in runs:
        if run.state == "done" and run.last is not None and SEED in (run.settings or {}):
            alike = {key: x for key, x in run.settings.items() if _of_the_run(key)}
            groups[json.dumps([alike, metric_in_words(run)], sort_keys=True)].append(run)
    apart = [key for key in differences(runs) if _of_the_run(key)]
    found = []
    for group in groups.values():
        seeds = sorted({str(run.settings[SEED]) for run in group}, key=lambda x: (len(x), x))
        if len(seeds) < 2 or len(seeds) < len(group):  # a seed that ran twice would count twice
            continue
        last, best = (
            [math.nan if figure is None else figure for figure in figures]
            for figures in zip(*((run.last, run.best) for run in group), strict=True)
        )
        found.append(
            OverSeeds(
                {key: group[0].settings[key] for key in apart if key in group[0].settings},
                seeds,
                metric_in_words(group[0]),
                *(of(figures) for figures in (last, best) for of in (statistics.fmean, _deviation)),
            )
        )
    return sorted(found, key=lambda group: (group.metric, -group.last))


def _of_the_run(key: str) -> bool:
    """Whether runs that are alike agree in it."""
    return key != SEED and (_is_config(key) or key == "git")


def _is_config(key: str) -> bool:
    return key.partition(".")[0] not in AROUND


def _deviation(figures: Sequence[float]) -> float:
    return statistics.stdev(figures) if all(map(math.isfinite, figures)) else math.nan


def run_cells(runs: Sequence[Run]) -> Cells:
    """The table of what runs reached; columns in which there would be nothing are left out."""
    words = {metric_in_words(run) for run in runs} - {None}
    figure = words.pop() if len(words) == 1 else "figure"
    columns: list[tuple[str, Callable[[Run], str]]] = [
        ("run", lambda run: run.name),
        ("metric", lambda run: metric_in_words(run) if words and run.metric else ABSENT),
        (f"last {figure}", lambda run: number(run.last, ".2%")),
        ("best", lambda run: number(run.best, ".2%")),
        ("at step", lambda run: number(run.best_step, ",")),
        ("test", lambda run: number(run.test, ".2%")),
        ("loss", lambda run: number(run.loss, ".4f")),
        ("step", lambda run: number(run.step, ",")),
        ("parameters", lambda run: number(run.parameters, ",")),
        ("examples/s", lambda run: number(run.examples_per_second, ",.3g", whole_from=100)),
        ("time", lambda run: clock(run.seconds)),
        ("state", lambda run: run.state),
        ("code", lambda run: _revision(run.code)),
    ]
    always = ("run", f"last {figure}", "best", "loss", "step", "state")
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
    """The table of settings that differ, a row a run or a row a key: whichever is narrower."""
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
    """The table of means over seeds."""
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    return [
        ["seeds", *keys, "metric", "last", "best"],
        *(
            [
                ", ".join(group.seeds),
                *(value(group.settings[k], k) if k in group.settings else ABSENT for k in keys),
                group.metric,
                f"{number(group.last, '.2%')} ± {number(group.last_deviation, '.2%')}",
                f"{number(group.best, '.2%')} ± {number(group.best_deviation, '.2%')}",
            ]
            for group in groups
        ),
    ]


def text(cells: Cells) -> str:
    """Columns in line, the first to the left and the others to the right."""
    widths = _widths(cells)
    return "\n".join(
        "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip()
        for first, *rest in cells
    )


def markdown(cells: Cells) -> str:
    """A table of GitHub's Markdown; names and values are text, whatever they have in them."""
    head, *rows = ([_escaped(cell) for cell in row] for row in cells)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def value(of: Any, key: str = "") -> str:
    """A setting, as short as it can be told."""
    found = shown(_revision(of) if key == "git" else _text(of))
    if len(found) <= _LONGEST:
        return found
    return f"{found[: _LONGEST // 2 - 2]}...{found[1 - _LONGEST // 2 :]}"


def number(of: float | None, form: str, whole_from: float = math.inf) -> str:
    """A number, whole from some size on; '-' where there is none."""
    if of is None:
        return ABSENT
    return "nan" if math.isnan(of) else format(of, ",.0f" if of >= whole_from else form)


def clock(seconds: float | None) -> str:
    """A time as 0:20:44."""
    return ABSENT if seconds is None else str(dt.timedelta(seconds=round(seconds)))


def _text(of: Any) -> str:
    """As Python writes it, which is how flags take it."""
    return of if isinstance(of, str) else str(of)


def _revision(code: Any) -> str:
    """A git revision in ten digits, and whether files differed from it."""
    if not code:
        return ABSENT
    revision, plus, changes = str(code).partition("+")
    return shown(revision[:10] + plus + changes[:10])


def _widths(cells: Cells) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _escaped(cell: str) -> str:
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in cell)
