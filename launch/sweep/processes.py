"""The processes of a sweep's points: so many at once, tried again, stopped together.

A point's process writes to output.log in the point's folder, and holds a lock on it for as long as
it lives: a sweep that was killed and is started again, while what it had started still trains,
waits for that instead of training the same point twice.
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
EXIT_STOPPED = 75  # of experiments.train: saved, start it again to go on
ENDING = (signal.SIGINT, signal.SIGHUP)

_SAVING = (signal.SIGTERM, signal.SIGUSR1)  # what experiments.train saves on
_WRONG = f"status {EXIT_USER_ERROR}"
_LOOK_EVERY = 0.2  # seconds
_TAIL = 16_384  # bytes: the end of a log

WAITING, RUNNING, ELSEWHERE, STOPPED = "waiting", "running", "held elsewhere", "stopped"
DONE, FAILED = "done", "failed"


@dataclasses.dataclass
class Run:
    """A point on its way through the sweep.

    Attributes:
      point: which.
      folder: its workdir.
      flags: of experiments.train.
      state: one of those above.
      result: what it reached, once it is done.
      how: the way its last try ended.
      words: the last thing that it said in that try.
      seconds: that it trained for, in this sweep.
    """

    point: Point
    folder: Path
    flags: list[str]
    state: str = WAITING
    result: Result | None = None
    how: str = ""
    words: str = ""
    seconds: float = 0.0
    failures: int = 0
    place: int = 0
    process: subprocess.Popen | None = None
    started: float = 0.0
    log_start: int = 0

    @property
    def name(self) -> str:
        """The point's."""
        return self.point.name

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.folder / "output.log"

    def has_logged(self) -> bool:
        """Whether it has trained a step since it was started here."""
        try:
            changed = (self.folder / "metrics.jsonl").stat()
        except FileNotFoundError:
            return False
        return changed.st_size > 0 and changed.st_mtime > self.started


def tail(path: Path, start: int = 0) -> str:
    """The end of a text, from a byte on; '' where there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


class Signals:
    """Those that ask the sweep to end, noted, to be passed on to what is running."""

    def __init__(self):
        """Listens from now on."""
        self.stopped_by: signal.Signals | None = None
        self._pending: list[int] = []
        self._passed = False
        for number in (*_SAVING, *ENDING):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.stopped_by = signal.Signals(number)
        self._pending.append(number)

    def pass_on(self, runs: Sequence[Run], launcher: Launcher) -> None:
        """Sends what came since the last call."""
        # Here, not in the handler, so that no process is between being started and being listed.
        while self._pending:
            number = self._pending.pop(0)
            for run in runs:
                commands = [] if self._passed else launcher.stop(run.folder, run.place)
                for command in commands:
                    with run.log.open("a") as log:
                        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
                # A job or a pod saves first; only a second signal ends the wait for it.
                if not commands:
                    run.process.send_signal(number)
            self._passed = True


def train(
    runs: Sequence[Run],
    launcher: Launcher,
    *,
    retries: int,
    show: Callable[[Run | None], None],
) -> signal.Signals | None:
    """Trains the points that are not done yet.

    Args:
      runs: all points; their states, results and ways of failing are set.
      launcher: where they run.
      retries: how often a point that fails is tried again, behind those that wait.
      show: called with a run whose state has changed, and with None a few times a second.

    Returns:
      The signal that stopped the sweep, or None.

    Raises:
      SweepError: the points that ended first all did so with status 2.
    """
    signals = Signals()
    queue = collections.deque(run for run in runs if run.state != DONE)
    running: list[Run] = []
    while True:
        signals.pass_on(running, launcher)
        for run in [run for run in running if run.process.poll() is not None]:
            running.remove(run)
            _end(run, stopped=signals.stopped_by is not None)
            if run.state == FAILED and run.how != _WRONG and run.failures <= retries:
                run.state = WAITING
            if run.state == WAITING:
                queue.append(run)
            show(run)
        if not running and (signals.stopped_by or not queue):
            return signals.stopped_by
        wrong = [run for run in runs if run.how == _WRONG]
        if wrong and not _proven(runs, running):
            if not running:
                raise SweepError(
                    f"{wrong[0].name}, the first point tried, ended with status 2: "
                    f"{wrong[0].words}; mend it, in the sweep or behind --, and start again"
                )
        elif not signals.stopped_by:
            _start_some(queue, running, launcher, show)
        show(None)
        time.sleep(_LOOK_EVERY)


def _proven(runs: Sequence[Run], running: Sequence[Run]) -> bool:
    """Whether some point got past the checks that end with status 2, which all may fail alike."""
    ended = any(run.state == DONE or (run.how and run.how != _WRONG) for run in runs)
    return ended or any(run.has_logged() for run in running)


def _start_some(
    queue: collections.deque[Run],
    running: list[Run],
    launcher: Launcher,
    show: Callable[[Run | None], None],
) -> None:
    """Starts what waits, as far as there are places for it."""
    for _ in range(len(queue)):
        free = sorted(set(range(launcher.places)) - {run.place for run in running})
        if not free:
            return
        run = queue.popleft()
        run.place = free[0]
        before = run.state
        try:
            _start(run, launcher)
        except OSError as error:
            run.state, run.how = FAILED, f"{error.filename or run.log}: {error.strerror}"
        except SweepError as error:
            run.state, run.how = FAILED, str(error)
        if run.state == RUNNING:
            running.append(run)
        elif run.state == ELSEWHERE:
            queue.append(run)
        if run.state != before:
            show(run)


def _start(run: Run, launcher: Launcher) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    with run.log.open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            run.state = ELSEWHERE
            return
        # The process that had the lock may have finished the point.
        run.result = result(run.folder, run.flags)
        if run.result:
            run.state = DONE
            return
        command = launcher.command(run.folder, run.flags, run.place)
        log.write(f"\n$ {shlex.join(command)}\n".encode())
        log.flush()
        run.log_start = log.tell()
        run.started = time.time()
        # In a group of its own: what is sent to the sweep's group, by Ctrl-C or `timeout`, would
        # come twice, and a second signal ends experiments.train before it has saved.
        run.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | dict(launcher.environment(run.place)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    run.state = RUNNING


def _end(run: Run, *, stopped: bool) -> None:
    """Says what has become of a run whose process has ended."""
    status = run.process.returncode
    run.seconds += time.time() - run.started
    run.words = _last_words(run)
    try:
        run.result = result(run.folder, run.flags) if status == 0 else None
    except SweepError as error:
        run.words = str(error)
    if run.result:
        run.state, run.how = DONE, ""
        return
    if status == 0:
        run.how = "status 0 and without eval.json"
    else:
        run.how = f"status {status}" if status > 0 else signal.Signals(-status).name
    if stopped:
        run.state = STOPPED
    elif status == EXIT_STOPPED:
        run.state = WAITING
    else:
        run.state = FAILED
        run.failures += 1


def _last_words(run: Run) -> str:
    """The error that a try ended with, or else the last line that it printed."""
    lines = [line.strip() for line in tail(run.log, run.log_start).splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["(it printed nothing)"])[-1]
