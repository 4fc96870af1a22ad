"""Trains every point of a sweep, several at once, and says which did best (Figs. 5 and 6).

Like all of `launch/` it imports nothing of the project; points are processes of experiments.train.
"""

import argparse
import importlib.util
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from launch.sweep.launchers import TRAIN, Launcher, make_launcher
from launch.sweep.points import ROOT, Point, Sweep, as_flag, read_sweep
from launch.sweep.processes import DONE, ENDING, EXIT_STOPPED, EXIT_USER_ERROR, FAILED, Run, train
from launch.sweep.results import Row, result, swept_values, table, write_csv
from launch.sweep.table import display, progress
from launch.sweep.values import SweepError, unknown

EXIT_FAILED = 1
_FLAGS_AT_ONCE = 2000  # far below what a command line holds

USAGE = """Trains each point of a sweep in DIR/NAME, by experiments.train, and compares them.

  python -m launch.sweep --sweep=launch/sweeps/digits.json --workdir=runs/sweep
  python -m launch.sweep --config=configs/digits.py --workdir=runs/sizes --parallel=2 \\
      --sweep='model.num_latents=log2(8..64);optimizer.learning_rate=0.001,0.004,0.01'
  python -m launch.sweep --config=configs/digits.py --workdir=runs/rates --draws=20 \\
      --sweep='optimizer.learning_rate=loguniform(0.001,0.1)'
  python -m launch.sweep --sweep=launch/sweeps/figure5.json --workdir=runs/figure5 \\
      --launcher=slurm --parallel=14 --sbatch=--gpus=8 -- --config.model.dtype=bfloat16

SWEEP is a file, looked for here, then in the repository root, and described in
launch/sweep/points.py; or KEY=VALUES;KEY=VALUES, with a point for each combination. VALUES are
  8,16,32                these; a comma in brackets is part of a value, as in (8.0,8.0)
  1..4   0..1..0.25      from 1 to 4 by one, from 0 to 1 by 0.25
  log2(8..64)            8, 16, 32, 64; log10(0.001..1) goes by tens
  uniform(0,0.5)  loguniform(1e-4,0.1)  integers(2,8)  choice(lamb,adamw)
                         drawn at random, --draws points for each combination of the others

Start the same command again to go on: points that have an eval.json are done and skipped, others
resume where they were, and what failed is tried again. All flags are checked before anything
starts. A point's own values win over flags behind --, which win over the overrides that a file has
for all; relative paths in these flags are read from the repository root, as the config's are.
A point that fails is tried once more (--retries), then passed over; but where the first ones all
end with status 2, a mistake that may be in every point's flags, the sweep ends there. What a point
prints is in its output.log. Signals go to all points that are training. At the end there are
sweep.csv and sweep.png, and the points that are done are listed, the best first.

  local   processes of this machine; of the GPUs in CUDA_VISIBLE_DEVICES each gets its share
  slurm   a job a point, by launch/slurm.sbatch; --sbatch=FLAG gives sbatch a flag, and its own
          SBATCH_... variables count
  tpu     one point at a time on each of --pods, by launch/tpu_pod.sh train --watch, whose
          TPU_POD_... variables say where and how they are; DIR is a folder that the pods see by the
          same path as this machine

exit status: 0 all are done; 1 a point failed; 2 a mistake in the command, the sweep or the flags of
the first points; 75 stopped by SIGTERM or SIGUSR1, which points that are training answer by saving:
start it again; 129 stopped by SIGHUP, 130 by Ctrl-C."""


def choose(points: Sequence[Point], only: Sequence[str]) -> list[Point]:
    """The points of these names or numbers, in the sweep's order; all where none is given."""
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
    first = [f"--config={sweep.config}", f"--workdir={workdir / point.name}"]
    return [*first, *_flags(sweep.overrides), *more, *_flags(point.overrides)]


def _flags(overrides: dict[str, object]) -> list[str]:
    return [f"--config.{key}={as_flag(value)}" for key, value in overrides.items()]


def check_flags(sweep: Sweep, points: Sequence[Point], more: Sequence[str]) -> None:
    """Lets experiments.train look at the flags of all points, without training.

    Raises:
      SweepError: it doesn't know one, or can't take its value.
    """
    first = [*TRAIN, f"--config={sweep.config}", *_flags(sweep.overrides), *more]
    own = list(dict.fromkeys(flag for point in points for flag in _flags(point.overrides)))
    for start in range(0, max(len(own), 1), _FLAGS_AT_ONCE):
        # It parses all flags, every one of a key's many, before it comes to --help.
        command = [*first, *own[start : start + _FLAGS_AT_ONCE], "--help"]
        checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if checked.returncode == EXIT_USER_ERROR:
            said = checked.stderr.strip().rpartition("\n")[2].removeprefix("error: ")
            raise SweepError(f"{said} (of experiments.train; nothing was started)")


def run(
    sweep: Sweep,
    points: Sequence[Point],
    workdir: Path,
    more: Sequence[str],
    launcher: Launcher,
    retries: int,
) -> int:
    """Trains the points that are not done yet, then says which did best.

    Returns:
      The exit status of the sweep.

    Raises:
      SweepError: a point is done already, with other flags; or a mistake in the flags.
    """
    runs = []
    for point in points:
        flags = flags_of(sweep, point, workdir, more)
        runs.append(Run(point, workdir / point.name, flags))
    for one in runs:  # all of them before hours are spent on any
        one.result = result(one.folder, one.flags)
        if one.result:
            one.state = DONE
    show = display(runs)
    for one in runs:
        if one.state == DONE:
            show(one)
    left = [one.point for one in runs if one.state != DONE]
    if left:
        check_flags(sweep, left, more)
    try:
        stopped_by = train(runs, launcher, retries=retries, show=show)
    finally:
        if any(one.result for one in runs):
            compare(sweep, runs, workdir)
    failed = [one for one in runs if one.state == FAILED]
    left = [one.name for one in runs if one.state not in (DONE, FAILED)]
    if stopped_by and left:
        say(f"stopped at {', '.join(left[:3])}{' ...' if left[3:] else ''}: start the sweep again")
        return 128 + stopped_by if stopped_by in ENDING else EXIT_STOPPED
    if failed:
        how = ", ".join(f"{one.name} ({one.how})" for one in failed)
        print(f"error: {len(failed)} of {len(points)} points failed: {how}", file=sys.stderr)
    return EXIT_FAILED if failed else 0


def compare(sweep: Sweep, runs: Sequence[Run], workdir: Path) -> None:
    """Writes sweep.csv and sweep.png, and lists what is done, the best first."""
    from launch.sweep.plots import draw_sweep  # matplotlib takes a second

    rows = [
        Row(
            one.name,
            swept_values(one.folder, one.point.overrides, sweep.keys),
            one.state,
            one.result.step if one.result else progress(one).get("step"),
            one.result,
        )
        for one in runs
    ]
    say("\n" + table({one.name: one.result for one in runs if one.result}))
    write_csv(workdir / "sweep.csv", rows, sweep.keys)
    drawn = draw_sweep(workdir / "sweep.png", rows, sweep.keys, join=not sweep.drawn)
    say(f"table: {workdir / 'sweep.csv'}" + (f"; plots: {workdir / 'sweep.png'}" if drawn else ""))


def say(text: str) -> None:
    """Prints at once."""
    print(text, flush=True)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise SweepError(f"{message}; see --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "launch.sweep",
        usage="python -m launch.sweep --sweep=SWEEP --workdir=DIR [FLAG ...] [-- FLAG ...]",
        description=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--sweep", required=True, help="a file or KEY=VALUES;KEY=VALUES")
    add("--workdir", metavar="DIR", help="one folder a point goes here")
    add("--config", metavar="FILE", help="FILE[:variant], in place of that of a sweep file")
    add("--launcher", choices=("local", "slurm", "tpu"), default="local", help="where points run")
    add("--parallel", metavar="N", type=int, help="points at once; by default 1, on tpu one a pod")
    add("--pods", metavar="A,B", help="names of TPU pods")
    add("--sbatch", metavar="FLAG", action="append", default=[], help="for sbatch; may be repeated")
    add("--retries", metavar="N", type=int, default=1, help="of a point that failed; by default 1")
    add("--draws", metavar="N", type=int, help="points that draw at random")
    add("--seed", metavar="N", type=int, help="of what is drawn; by default 0")
    add(
        "--only",
        metavar="POINT",
        action="append",
        default=[],
        help="this point alone, by name or by its number from 0; may be repeated",
    )
    add("--list", action="store_true", help="print number, name and overrides; run nothing")
    add(
        "--dry-run",
        action="store_true",
        help="print the commands, to be run in the repository root; run nothing",
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options, more = _parser().parse_args(arguments[:split]), arguments[split + 1 :]
    for flag in more:
        if re.match(r"--?(config|workdir)(=|$)", flag):
            raise SweepError(f"{flag} is the sweep's to give; behind -- come other flags")
    for name, least in (("draws", 1), ("retries", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise SweepError(f"--{name}={value}: give {least} or more")
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
    workdir = Path(options.workdir).expanduser().absolute()
    if options.dry_run:
        for number, point in enumerate(points):
            flags = flags_of(sweep, point, workdir, more)
            place = number % launcher.places
            say(shlex.join(launcher.command(workdir / point.name, flags, place)))
        return 0
    if importlib.util.find_spec("jax") is None:
        raise SweepError(f"{sys.executable} has no jax: take the Python of the environment, .venv")
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
