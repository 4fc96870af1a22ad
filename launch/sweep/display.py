"""Progress of a running sweep: a table in a terminal, plain lines elsewhere."""

import json
import math
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from launch.sweep.processes import (
    DONE,
    ELSEWHERE,
    FAILED,
    RUNNING,
    STOPPED,
    WAITING,
    PointProcess,
    tail,
)

_REDRAW_EVERY = 1.0  # seconds
_SHORTEST = 12  # letters of a name
_HEAD = ("point", "state", "step", "loss", "metric", "time")
# Priority of states if not all points fit on the screen.
_ORDER = (RUNNING, FAILED, STOPPED, ELSEWHERE, DONE, WAITING)


def display(points: Sequence[PointProcess]) -> Callable[[PointProcess | None], None]:
    """Returns the function that shows the progress of the points, for `processes.train`."""
    return Table(points) if sys.stdout.isatty() else Lines(points)


class Lines:
    """Prints a line when a point starts and when it ends."""

    def __init__(self, points: Sequence[PointProcess]):
        """Numbers the points."""
        self._numbers = {
            point.name: f"[{number}/{len(points)}] {point.name}"
            for number, point in enumerate(points, 1)
        }

    def __call__(self, point: PointProcess | None) -> None:
        """Prints the new state of a point."""
        if point is None:
            return
        name = self._numbers[point.name]
        if point.state == RUNNING:
            print(f"{name}: {point.point}", flush=True)
        elif point.state == DONE:
            print(f"{name} is done: {str(point.result).strip()}", flush=True)
        elif point.state == ELSEWHERE:
            print(f"{name} is still trained by a process of an earlier sweep: waiting", flush=True)
        else:
            again = "; it will be started again" if point.state == WAITING else ""
            message = f": {point.message}" if point.message else ""
            print(f"{name} ended with {point.ending}{message}{again}", flush=True)


class Table:
    """Draws a table with a row for each point, repeatedly in the same place."""

    def __init__(self, points: Sequence[PointProcess]):
        """Draws nothing yet."""
        self._points = points
        self._lines = 0  # drawn by the last call
        self._next = 0.0

    def __call__(self, point: PointProcess | None) -> None:
        """Draws the table if a point's state has changed, or a second after the last drawing."""
        if point is None and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REDRAW_EVERY
        size = shutil.get_terminal_size()
        lines = table_lines(self._points, size.lines - 2, size.columns - 1)
        up = f"\x1b[{self._lines}F" if self._lines else ""
        sys.stdout.write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        sys.stdout.flush()
        self._lines = len(lines)


def table_lines(points: Sequence[PointProcess], most: int, width: int) -> list[str]:
    """Returns a table of all points, or of as many as fit in `most` lines of `width` columns."""
    states = Counter(point.state for point in points)
    count = ", ".join(f"{states[state]} {state}" for state in _ORDER if states[state])
    room = max(most - 3, 1)
    shown = sorted(points, key=lambda point: _ORDER.index(point.state))[:room]
    shown = [point for point in points if point in shown]  # in the order of the sweep
    rows = [_HEAD, *(_row(point) for point in shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = min(widths[0], max(width - sum(widths[1:]) - 2 * len(widths[1:]), _SHORTEST))
    rows = [(_shortened(name, widths[0]), *rest) for name, *rest in rows]
    lines = ["  ".join(f"{word:{w}}" for word, w in zip(row, widths, strict=True)) for row in rows]
    left = len(points) - len(shown)
    more = [f"and {left} more"] if left else []
    lines = [f"{len(points)} points: {count}", *lines, *more]
    return [line[:width].rstrip() for line in lines]


def _shortened(name: str, width: int) -> str:
    """Replaces the middle of a long name by dots; the ends distinguish points best."""
    end = (width - 3) // 2
    return name if len(name) <= width else f"{name[: width - 3 - end]}...{name[-end:]}"


def _row(point: PointProcess) -> tuple[str, ...]:
    state = f"{point.state} ({point.ending})" if point.state == FAILED else point.state
    seconds = point.seconds + (time.time() - point.started if point.state == RUNNING else 0)
    clock = _clock(seconds) if seconds else ""
    if point.result:
        step = "" if point.result.step is None else str(point.result.step)
        figure = _percent(point.result.figure, point.result.metric_name)
        return point.name, state, step, f"{point.result.loss:.4f}", figure, clock
    newest = newest_metrics(point)
    if not newest:
        return point.name, state, "", "", "", clock
    step = "/".join(str(newest[key]) for key in ("step", "last") if key in newest)
    metric = next((key for key in ("mAP", "top1") if key in newest), None)
    figure = _percent(newest[metric], metric) if metric else ""
    loss = f"{newest['loss']:.4f}" if "loss" in newest else ""
    return point.name, state, step, loss, figure, clock


def newest_metrics(point: PointProcess) -> dict[str, float]:
    """Returns the newest metrics of a point.

    Returns:
      Values by name, if they are known: 'step', 'last' (the last step of the run), 'loss' in
      training, and 'top1' or 'mAP' in evaluation.
    """
    newest = {}
    # The first and the last line may be incomplete.
    for line in tail(point.folder / "metrics.jsonl").splitlines():
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
    lasts = re.findall(r"^step \d+/(\d+)", tail(point.log, point.log_start), re.MULTILINE)
    if newest and lasts:
        newest["last"] = int(lasts[-1])
    return newest


def _percent(share: float, name: str) -> str:
    return f"{'nan' if math.isnan(share) else f'{share:.2%}'} {name}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
