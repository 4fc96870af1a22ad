"""What a sweep shows while it runs: a table in a terminal, plain lines elsewhere."""

import json
import math
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from launch.sweep.processes import DONE, ELSEWHERE, FAILED, RUNNING, STOPPED, WAITING, Run, tail

_REDRAW_EVERY = 1.0  # seconds
_SHORTEST = 12  # letters of a name
_HEAD = ("point", "state", "step", "loss", "metric", "time")
# Those first that one wants to see where not all fit.
_ORDER = (RUNNING, FAILED, STOPPED, ELSEWHERE, DONE, WAITING)


def display(runs: Sequence[Run]) -> Callable[[Run | None], None]:
    """What `sweep_runs.train` calls to show how the points of a sweep are getting on."""
    return Table(runs) if sys.stdout.isatty() else Lines(runs)


class Lines:
    """A line when a point starts and when it ends."""

    def __init__(self, runs: Sequence[Run]):
        """Numbers them."""
        self._numbers = {
            run.name: f"[{number}/{len(runs)}] {run.name}" for number, run in enumerate(runs, 1)
        }

    def __call__(self, run: Run | None) -> None:
        """Prints what is new of a run."""
        if run is None:
            return
        name = self._numbers[run.name]
        if run.state == RUNNING:
            print(f"{name}: {run.point}", flush=True)
        elif run.state == DONE:
            print(f"{name} is done: {str(run.result).strip()}", flush=True)
        elif run.state == ELSEWHERE:
            print(f"{name} is still trained by what an earlier sweep started: waits", flush=True)
        else:
            again = "; it is started again" if run.state == WAITING else ""
            words = f": {run.words}" if run.words else ""
            print(f"{name} ended with {run.how}{words}{again}", flush=True)


class Table:
    """A row a point, redrawn in place."""

    def __init__(self, runs: Sequence[Run]):
        """Draws nothing yet."""
        self._runs = runs
        self._lines = 0  # drawn by the last call
        self._next = 0.0

    def __call__(self, run: Run | None) -> None:
        """Draws it again where a point's state has changed, or a second after the last time."""
        if run is None and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REDRAW_EVERY
        size = shutil.get_terminal_size()
        lines = table(self._runs, size.lines - 2, size.columns - 1)
        up = f"\x1b[{self._lines}F" if self._lines else ""
        sys.stdout.write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        sys.stdout.flush()
        self._lines = len(lines)


def table(runs: Sequence[Run], most: int, width: int) -> list[str]:
    """The lines of a table of all runs, or of as many as `most` lines of `width` have room for."""
    states = Counter(run.state for run in runs)
    count = ", ".join(f"{states[state]} {state}" for state in _ORDER if states[state])
    room = max(most - 3, 1)
    shown = sorted(runs, key=lambda run: _ORDER.index(run.state))[:room]
    shown = [run for run in runs if run in shown]  # as the sweep has them
    rows = [_HEAD, *(_row(run) for run in shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = min(widths[0], max(width - sum(widths[1:]) - 2 * len(widths[1:]), _SHORTEST))
    rows = [(_shortened(name, widths[0]), *rest) for name, *rest in rows]
    lines = ["  ".join(f"{word:{w}}" for word, w in zip(row, widths, strict=True)) for row in rows]
    left = len(runs) - len(shown)
    more = [f"and {left} more"] if left else []
    lines = [f"{len(runs)} points: {count}", *lines, *more]
    return [line[:width].rstrip() for line in lines]


def _shortened(name: str, width: int) -> str:
    """Without its middle, if it is too long: ends tell more points apart."""
    end = (width - 3) // 2
    return name if len(name) <= width else f"{name[: width - 3 - end]}...{name[-end:]}"


def _row(run: Run) -> tuple[str, ...]:
    state = f"{run.state} ({run.how})" if run.state == FAILED else run.state
    seconds = run.seconds + (time.time() - run.started if run.state == RUNNING else 0)
    clock = _clock(seconds) if seconds else ""
    if run.result:
        step = "" if run.result.step is None else str(run.result.step)
        figure = _percent(run.result.figure, run.result.metric_name)
        return run.name, state, step, f"{run.result.loss:.4f}", figure, clock
    newest = progress(run)
    if not newest:
        return run.name, state, "", "", "", clock
    step = "/".join(str(newest[key]) for key in ("step", "last") if key in newest)
    metric = next((key for key in ("mAP", "top1") if key in newest), None)
    figure = _percent(newest[metric], metric) if metric else ""
    loss = f"{newest['loss']:.4f}" if "loss" in newest else ""
    return run.name, state, step, loss, figure, clock


def progress(run: Run) -> dict[str, float]:
    """How far a run has come: what it logged last, and evaluated last.

    Returns:
      'step', 'last' (the step at which it will end), 'loss' in training, and 'top1' or 'mAP' in
      evaluation, as far as they are known.
    """
    newest = {}
    # The first line may be cut by where the tail begins, the last one by where the run is.
    for line in tail(run.folder / "metrics.jsonl").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict):
            continue
        wanted = {"train": ("step", "loss"), "eval": ("step", "mAP", "top1")}
        for key in wanted.get(record.get("split"), ()):
            if key in record:
                newest[key] = math.nan if record[key] is None else record[key]
    lasts = re.findall(r"^step \d+/(\d+)", tail(run.log, run.log_start), re.MULTILINE)
    if newest and lasts:
        newest["last"] = int(lasts[-1])
    return newest


def _percent(share: float, name: str) -> str:
    return f"{'nan' if math.isnan(share) else f'{share:.2%}'} {name}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
