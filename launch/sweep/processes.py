"""Runs the processes of a sweep's points, restarts them after failures, and stops them together.

A point's process writes to output.log in the point's folder and holds a lock on it while it lives.
If a sweep was killed and its processes still train, the next sweep waits for them instead of
training the same points twice.
"""

import collections
import dataclasses
import fcntl
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from launch.sweep.launchers import Launcher
from launch.sweep.points import ROOT, Point
from launch.sweep.results import Result, result
from launch.sweep.values import SweepError

EXIT_USER_ERROR = 2
EXIT_STOPPED = 75  # of experiments.train after a signal: it has saved and can be resumed
ENDING = (signal.SIGINT, signal.SIGHUP)

_SAVING = (signal.SIGTERM, signal.SIGUSR1)  # experiments.train saves on these
_MISTAKE = f"status {EXIT_USER_ERROR}"
_POLL_SECONDS = 0.2
_TAIL = 16_384  # bytes that are read at the end of a file

WAITING, RUNNING, ELSEWHERE, STOPPED = "waiting", "running", "held elsewhere", "stopped"
DONE, FAILED = "done", "failed"


@dataclasses.dataclass
class PointProcess:
    """A point and the process that trains it.

    Attributes:
      point: the point.
      folder: workdir of the point.
      flags: flags for experiments.train.
      state: WAITING, RUNNING, ELSEWHERE, STOPPED, DONE or FAILED.
      result: result of the point when it is done.
      ending: status, signal or error with which the last try ended.
      message: last message of that try.
      seconds: training time in this sweep.
      failures: number of failed tries.
      place: number of the point's place in the launcher.
      process: running process of the launcher's command.
      started: time at which the last try began, in seconds since the epoch.
      log_start: size of the log at that time, in bytes.
    """

    point: Point
    folder: Path
    flags: list[str]
    state: str = WAITING
    result: Result | None = None
    ending: str = ""
    message: str = ""
    seconds: float = 0.0
    failures: int = 0
    place: int = 0
    process: subprocess.Popen | None = None
    started: float = 0.0
    log_start: int = 0

    @property
    def name(self) -> str:
        """Name of the point."""
        return self.point.name

    @property
    def log(self) -> Path:
        """File with the output of the point's processes."""
        return self.folder / "output.log"

    def has_logged(self) -> bool:
        """Returns whether the point has logged a step since this sweep started it."""
        try:
            changed = (self.folder / "metrics.jsonl").stat()
        except FileNotFoundError:
            return False
        return changed.st_size > 0 and changed.st_mtime > self.started


def tail(path: Path, start: int = 0) -> str:
    """Returns the end of a text after byte `start`; '' if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


class Signals:
    """Receives the signals that end the sweep, and forwards them to the running points."""

    def __init__(self):
        """Installs the handlers."""
        self.stopped_by: signal.Signals | None = None
        self._pending: list[int] = []
        self._forwarded = False
        for number in (*_SAVING, *ENDING):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.stopped_by = signal.Signals(number)
        self._pending.append(number)

    def forward(self, points: Sequence[PointProcess], launcher: Launcher) -> None:
        """Forwards the signals received since the last call."""
        # Not in the handler, which could run after a process starts and before it is in the list.
        while self._pending:
            number = self._pending.pop(0)
            for point in points:
                commands = [] if self._forwarded else launcher.stop(point.folder, point.place)
                for command in commands:
                    with point.log.open("a") as log:
                        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
                # A job or a pod saves first; a second signal ends the wait for it.
                if not commands:
                    point.process.send_signal(number)
            self._forwarded = True


def train(
    points: Sequence[PointProcess],
    launcher: Launcher,
    *,
    retries: int,
    show: Callable[[PointProcess | None], None],
) -> signal.Signals | None:
    """Trains all points that are not done.

    Args:
      points: all points; their states, results and endings are updated.
      launcher: launcher of the points.
      retries: number of further tries of a failed point, after the waiting points.
      show: function that is called with a point whose state has changed, and with None a few times
        a second.

    Returns:
      The signal that stopped the sweep, or None.

    Raises:
      SweepError: the first points all ended with status 2.
    """
    signals = Signals()
    queue = collections.deque(point for point in points if point.state != DONE)
    running: list[PointProcess] = []
    while True:
        signals.forward(running, launcher)
        for point in [point for point in running if point.process.poll() is not None]:
            running.remove(point)
            _end(point, stopped=signals.stopped_by is not None)
            if point.state == FAILED and point.ending != _MISTAKE and point.failures <= retries:
                point.state = WAITING
            if point.state == WAITING:
                queue.append(point)
            show(point)
        if not running and (signals.stopped_by or not queue):
            return signals.stopped_by
        wrong = [point for point in points if point.ending == _MISTAKE]
        if wrong and not _proven(points, running):
            if not running:
                raise SweepError(
                    f"{wrong[0].name}, the first point tried, ended with status 2: "
                    f"{wrong[0].message}; correct the sweep or the flags after --, and start again"
                )
        elif not signals.stopped_by:
            _start_some(queue, running, launcher, show)
        show(None)
        time.sleep(_POLL_SECONDS)


def _proven(points: Sequence[PointProcess], running: Sequence[PointProcess]) -> bool:
    """Returns whether a point has passed the checks of its flags, which end with status 2."""
    ended = any(
        point.state == DONE or (point.ending and point.ending != _MISTAKE) for point in points
    )
    return ended or any(point.has_logged() for point in running)


def _start_some(
    queue: collections.deque[PointProcess],
    running: list[PointProcess],
    launcher: Launcher,
    show: Callable[[PointProcess | None], None],
) -> None:
    """Starts waiting points in the free places."""
    for _ in range(len(queue)):
        free = sorted(set(range(launcher.places)) - {point.place for point in running})
        if not free:
            return
        point = queue.popleft()
        point.place = free[0]
        before = point.state
        try:
            _start(point, launcher)
        except OSError as error:
            point.state, point.ending = FAILED, f"{error.filename or point.log}: {error.strerror}"
        except SweepError as error:
            point.state, point.ending = FAILED, str(error)
        if point.state == RUNNING:
            running.append(point)
        elif point.state == ELSEWHERE:
            queue.append(point)
        if point.state != before:
            show(point)


def _start(point: PointProcess, launcher: Launcher) -> None:
    point.folder.mkdir(parents=True, exist_ok=True)
    with point.log.open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            point.state = ELSEWHERE
            return
        # The process that held the lock before may have finished the point.
        point.result = result(point.folder, point.flags)
        if point.result:
            point.state = DONE
            return
        command = launcher.command(point.folder, point.flags, point.place)
        log.write(f"\n$ {shlex.join(command)}\n".encode())
        log.flush()
        point.log_start = log.tell()
        point.started = time.time()
        # A separate process group: a signal to the sweep's group, from Ctrl-C or `timeout`, would
        # arrive twice, and a second signal ends experiments.train before it has saved.
        point.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | dict(launcher.environment(point.place)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    point.state = RUNNING


def _end(point: PointProcess, *, stopped: bool) -> None:
    """Updates the state of a point whose process has ended."""
    status = point.process.returncode
    point.seconds += time.time() - point.started
    point.message = _last_message(point)
    try:
        point.result = result(point.folder, point.flags) if status == 0 else None
    except SweepError as error:
        point.message = str(error)
    if point.result:
        point.state, point.ending = DONE, ""
        return
    if status == 0:
        point.ending = "status 0 and without eval.json"
    else:
        point.ending = f"status {status}" if status > 0 else signal.Signals(-status).name
    if stopped:
        point.state = STOPPED
    elif status == EXIT_STOPPED:
        point.state = WAITING
    else:
        point.state = FAILED
        point.failures += 1


def _last_message(point: PointProcess) -> str:
    """Returns the last error that a try printed, or else its last line."""
    lines = [line.strip() for line in tail(point.log, point.log_start).splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["(it printed nothing)"])[-1]
