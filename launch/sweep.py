"""Trains every point of a sweep, one after the other, and says which did best (Figs. 5 and 6).

Like all of `launch/` it imports nothing of the project; points are processes of experiments.train.
"""

import argparse
import importlib.util
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sweep_files import ROOT, Point, Sweep, SweepError, as_flag, read_sweep, unknown
from sweep_results import result, table

TRAIN = (sys.executable, "-m", "experiments.train")
EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_STOPPED = 75  # of experiments.train: saved, start it again to go on

_SAVING = (signal.SIGTERM, signal.SIGUSR1)  # what experiments.train saves on
_ENDING = (signal.SIGINT, signal.SIGHUP)

USAGE = """Trains each point of a sweep file in DIR/NAME, one after the other, by experiments.train.

  python launch/sweep.py launch/sweeps/digits.json --workdir=runs/sweep
  python launch/sweep.py launch/sweeps/figure5.json --list
  python launch/sweep.py launch/sweeps/figure5.json --workdir=runs/figure5 \\
      --only=$SLURM_ARRAY_TASK_ID -- --config.model.dtype=bfloat16

FILE is looked for here, then in the repository root. Points that have an eval.json are done and
skipped, others resume where they were: start the same command again to go on. The points' own
values win over flags behind --, which win over the overrides that the file has for all; relative
paths in these flags are read from the repository root, as the config's are. A point that fails is
passed over; but where none is done and the first one tried ends with status 2, a mistake in its
flags, which may be one in all points' flags, the sweep ends there. Signals go to the point that is
training. At the end the points that are done are listed, the best first.

exit status: 0 all are done; 1 a point failed; 2 a mistake in the command, the file or the first
point's flags; 75 stopped by SIGTERM or SIGUSR1, which a point that is training answers by saving:
start it again; 129 stopped by SIGHUP, 130 by Ctrl-C."""


def choose(points: Sequence[Point], only: Sequence[str]) -> list[Point]:
    """The points of these names or numbers, in the file's order; all where none is given."""
    by_word = {str(p.number): p for p in points} | {p.name: p for p in points}
    for word in only:
        if word not in by_word:
            names = [p.name for p in points]
            raise SweepError(
                f"{unknown(word, names, what='point')}; or a number from 0 to {len(points) - 1}"
            )
    chosen = {by_word[word].number for word in only}
    return [p for p in points if not only or p.number in chosen]


def flags_of(sweep: Sweep, point: Point, workdir: Path, more: Sequence[str]) -> list[str]:
    """What experiments.train is given for a point; of flags given twice the last counts."""
    common, own = (
        [f"--config.{key}={as_flag(value)}" for key, value in overrides.items()]
        for overrides in (sweep.overrides, point.overrides)
    )
    first = [f"--config={sweep.config}", f"--workdir={workdir / point.name}"]
    return [*first, *common, *more, *own]


class Runner:
    """Runs commands one after the other, passing on the signals that ask them to save and end."""

    def __init__(self):
        """Listens from now on."""
        self.stopped_by: signal.Signals | None = None
        self._pending: set[int] = set()
        for number in (*_SAVING, *_ENDING):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.stopped_by = signal.Signals(number)
        self._pending.add(number)

    def run(self, arguments: Sequence[str]) -> int:
        """Runs a command in the repository root; its exit status, negative for a signal."""
        # In a group of its own: what is sent to the sweep's group, by Ctrl-C or `timeout`, would
        # come twice, and a second signal ends experiments.train before it has saved.
        child = subprocess.Popen(arguments, cwd=ROOT, process_group=0)
        while True:
            # Looked at here, not in the handler, so that no signal is lost or passed on twice.
            while self._pending:
                child.send_signal(self._pending.pop())
            try:
                return child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue


def train(sweep: Sweep, points: Sequence[Point], workdir: Path, more: Sequence[str]) -> int:
    """Trains the points that are not done yet, then says which did best.

    Returns:
      The exit status of the sweep.

    Raises:
      SweepError: a point is done already, with other flags; or the first has a mistake in its.
    """
    flags = {point.name: flags_of(sweep, point, workdir, more) for point in points}
    # All of them are looked at before hours are spent on any.
    found = {name: result(workdir / name, flags[name]) for name in flags}
    done = {name: values for name, values in found.items() if values}
    runner, failed = Runner(), []
    for place, point in enumerate(points, start=1):
        name = point.name
        if name in done:
            say(f"[{place}/{len(points)}] {name} is done")
            continue
        if not runner.stopped_by:
            say(f"[{place}/{len(points)}] {name}: {point}")
            status = runner.run([*TRAIN, *flags[name]])
            values = result(workdir / name, flags[name])
            if status == 0 and values:
                done[name] = values
                continue
            how = f"status {status}" if status >= 0 else signal.Signals(-status).name
            say(f"{name} ended with {how}" + ("" if status else " and without eval.json"))
        if runner.stopped_by or status == EXIT_STOPPED:
            say(f"stopped at {name}: start the sweep again to go on")
            return 128 + runner.stopped_by if runner.stopped_by in _ENDING else EXIT_STOPPED
        if status == EXIT_USER_ERROR and not done and not failed:
            raise SweepError(
                f"{name}, the first point tried, ended with status 2: the mistake above is in its "
                "flags; mend it, in the sweep's file or behind --, and start again"
            )
        failed.append(f"{name} ({how})")
    if done:
        say("\n" + table(done))
    if failed:
        print(
            f"error: {len(failed)} of {len(points)} points failed: {', '.join(failed)}",
            file=sys.stderr,
        )
    return EXIT_FAILED if failed else 0


def say(text: str) -> None:
    """Prints at once, as the points print to the same place."""
    print(text, flush=True)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise SweepError(f"{message}; see --help")


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    parser = _Parser(
        "launch/sweep.py",
        usage="python launch/sweep.py FILE --workdir=DIR [--only=POINT ...] [-- FLAG ...]",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the sweep, see launch/sweeps/")
    parser.add_argument("--workdir", metavar="DIR", help="one folder a point goes here")
    parser.add_argument(
        "--only",
        metavar="POINT",
        action="append",
        default=[],
        help="train this point alone, by name or by its number from 0; may be given again",
    )
    parser.add_argument("--list", action="store_true", help="print number, name and overrides")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the commands, to be run in the repository root; run nothing",
    )
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options, more = parser.parse_args(arguments[:split]), arguments[split + 1 :]
    for flag in more:
        if re.match(r"--?(config|workdir)(=|$)", flag):
            raise SweepError(f"{flag} is the sweep's to give; behind -- come other flags")

    sweep = read_sweep(options.file)
    points = choose(sweep.points, options.only)
    if options.list:
        width = max(len(point.name) for point in points)
        say(sweep.about)
        for point in points:
            say(f"{point.number:3}  {point.name:{width}}  {point}")
        return 0
    if not options.workdir:
        raise SweepError("--workdir=DIR is missing: each point gets a folder in it")
    workdir = Path(options.workdir).expanduser().absolute()
    if options.dry_run:
        for point in points:
            say(shlex.join([*TRAIN, *flags_of(sweep, point, workdir, more)]))
        return 0
    if importlib.util.find_spec("jax") is None:
        raise SweepError(f"{sys.executable} has no jax: take the Python of the environment, .venv")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(f"--workdir={workdir} can't be made: {error.strerror}") from error
    return train(sweep, points, workdir, more)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SweepError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
