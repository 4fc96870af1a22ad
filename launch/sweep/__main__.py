"""Trains every point of a sweep, several at once, and ranks the results (Figs. 5 and 6).

It imports no other package of the project: points are processes of experiments.train.
"""

import importlib.util
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from launch.sweep.display import display, newest_metrics
from launch.sweep.launchers import TRAIN, Launcher, make_launcher
from launch.sweep.points import ROOT, Point, Sweep, as_flag, read_sweep
from launch.sweep.processes import (
    DONE,
    ENDING,
    EXIT_STOPPED,
    EXIT_USER_ERROR,
    FAILED,
    PointProcess,
    train,
)
from launch.sweep.results import Row, ranking, result, swept_values, write_csv
from launch.sweep.values import SweepError, unknown

EXIT_FAILED = 1
_FLAGS_AT_ONCE = 2000  # far below the limit of a command line


def choose(points: Sequence[Point], only: Sequence[str]) -> list[Point]:
    """Returns the points with these names or numbers in order; all points if `only` is empty."""
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
    """Returns the flags of a point for experiments.train, which uses the last of repeated flags."""
    first = [f"--config={sweep.config}", f"--workdir={workdir / point.name}"]
    return [*first, *_flags(sweep.overrides), *more, *_flags(point.overrides)]


def _flags(overrides: dict[str, object]) -> list[str]:
    return [f"--config.{key}={as_flag(value)}" for key, value in overrides.items()]


def check_flags(sweep: Sweep, points: Sequence[Point], more: Sequence[str]) -> None:
    """Lets experiments.train check the flags of all points, without training.

    Raises:
      SweepError: an unknown flag, or a wrong value.
    """
    first = [*TRAIN, f"--config={sweep.config}", *_flags(sweep.overrides), *more]
    own = list(dict.fromkeys(flag for point in points for flag in _flags(point.overrides)))
    for start in range(0, max(len(own), 1), _FLAGS_AT_ONCE):
        # It parses all flags, also repeated ones, before it prints the help.
        command = [*first, *own[start : start + _FLAGS_AT_ONCE], "--help"]
        checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if checked.returncode == EXIT_USER_ERROR:
            message = checked.stderr.strip().rpartition("\n")[2].removeprefix("error: ")
            raise SweepError(f"{message} (of experiments.train; nothing was started)")


def run(
    sweep: Sweep,
    points: Sequence[Point],
    workdir: Path,
    more: Sequence[str],
    launcher: Launcher,
    retries: int,
) -> int:
    """Trains the points that are not done yet, then ranks all results.

    Returns:
      The exit status of the sweep.

    Raises:
      SweepError: a point was done with other flags, or a flag is wrong.
    """
    processes = []
    for point in points:
        flags = flags_of(sweep, point, workdir, more)
        processes.append(PointProcess(point, workdir / point.name, flags))
    for process in processes:  # all results before hours of training
        process.result = result(process.folder, process.flags)
        if process.result:
            process.state = DONE
    show = display(processes)
    for process in processes:
        if process.state == DONE:
            show(process)
    left = [process.point for process in processes if process.state != DONE]
    if left:
        check_flags(sweep, left, more)
    try:
        stopped_by = train(processes, launcher, retries=retries, show=show)
    finally:
        if any(process.result for process in processes):
            compare(sweep, processes, workdir)
    failed = [process for process in processes if process.state == FAILED]
    left = [process.name for process in processes if process.state not in (DONE, FAILED)]
    if stopped_by and left:
        say(f"stopped at {', '.join(left[:3])}{' ...' if left[3:] else ''}: start the sweep again")
        return 128 + stopped_by if stopped_by in ENDING else EXIT_STOPPED
    if failed:
        how = ", ".join(f"{process.name} ({process.ending})" for process in failed)
        print(f"error: {len(failed)} of {len(points)} points failed: {how}", file=sys.stderr)
    return EXIT_FAILED if failed else 0


def compare(sweep: Sweep, processes: Sequence[PointProcess], workdir: Path) -> None:
    """Writes sweep.csv and sweep.png, and lists the points that are done, the best first."""
    from launch.sweep.plots import draw_sweep  # matplotlib takes a second

    rows = [
        Row(
            process.name,
            swept_values(process.folder, process.point.overrides, sweep.keys),
            process.state,
            process.result.step if process.result else newest_metrics(process).get("step"),
            process.result,
        )
        for process in processes
    ]
    say("\n" + ranking({process.name: process.result for process in processes if process.result}))
    write_csv(workdir / "sweep.csv", rows, sweep.keys)
    drawn = draw_sweep(workdir / "sweep.png", rows, sweep.keys, join=not sweep.drawn)
    say(f"table: {workdir / 'sweep.csv'}" + (f"; plots: {workdir / 'sweep.png'}" if drawn else ""))


def say(text: str) -> None:
    """Prints a line without delay."""
    print(text, flush=True)


def _absolute(workdir: str) -> Path:
    try:
        return Path(workdir).expanduser().absolute()
    except RuntimeError as error:  # ~ with the name of an unknown user
        raise SweepError(f"--workdir={workdir}: {error} Give the folder's path") from error


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit status."""
    if importlib.util.find_spec("jax") is None:
        raise SweepError(f"{sys.executable} has no jax: use the Python of the environment, .venv")
    from launch.sweep.arguments import parse  # imports absl, which such a Python also lacks

    options, more = parse(arguments)
    sweep = read_sweep(options.sweep, config=options.config, draws=options.draws, seed=options.seed)
    points = choose(sweep.points, options.only)
    launcher = make_launcher(options.launcher, options.parallel, options.pods, options.sbatch)
    if options.list:
        width = max(len(point.name) for point in points)
        say(sweep.about)
        for point in points:
            say(f"{point.number:3}  {point.name:{width}}  {point}")
        return 0
    if not options.workdir:
        raise SweepError("--workdir=DIR is missing: each point gets a folder in it")
    workdir = _absolute(options.workdir)
    if options.dry_run:
        for number, point in enumerate(points):
            flags = flags_of(sweep, point, workdir, more)
            place = number % launcher.places
            say(shlex.join(launcher.command(workdir / point.name, flags, place)))
        return 0
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise SweepError(f"--workdir={workdir} can't be written: {error.strerror}") from error
    return run(sweep, points, workdir, more, launcher, options.retries)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SweepError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
