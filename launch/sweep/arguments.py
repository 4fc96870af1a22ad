"""Parses the command line of a sweep."""

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from absl.flags import argparse_flags

from launch.sweep.values import SweepError

_ABOUT = """Trains each point of a sweep in DIR/NAME with experiments.train, and ranks the results.

  python -m launch.sweep --sweep=launch/sweeps/digits.json --workdir=runs/sweep
  python -m launch.sweep --config=configs/digits.py --workdir=runs/sizes --parallel=2 \\
      --sweep='model.num_latents=log2(8..64);optimizer.learning_rate=0.001,0.004,0.01'
  python -m launch.sweep --config=configs/digits.py --workdir=runs/rates --draws=20 \\
      --sweep='optimizer.learning_rate=loguniform(0.001,0.1)'
  python -m launch.sweep --sweep=launch/sweeps/figure5.json --workdir=runs/figure5 \\
      --launcher=slurm --parallel=14 --sbatch=--gpus=8 -- --config.model.dtype=bfloat16

SWEEP is a file in the current folder or in the repository root, in the format described in
launch/sweep/points.py; or KEY=VALUES;KEY=VALUES, with a point for each combination. VALUES are
  8,16,32                a list; a comma in brackets is part of a value, as in (8.0,8.0)
  1..4   0..1..0.25      from 1 to 4 in steps of 1, from 0 to 1 in steps of 0.25
  log2(8..64)            8, 16, 32, 64; log10(0.001..1) has steps of a factor of ten
  uniform(0,0.5)  loguniform(1e-4,0.1)  integers(2,8)  choice(lamb,adamw)
                         random, with --draws points for each combination of other values

Start the same command again to continue: it skips points with an eval.json, resumes interrupted
points and repeats failed ones. All flags are checked before the first start. A point's own values
override flags after --, and these override the values that a file has for all points. Paths in
these flags are relative to the repository root. A failed point is tried once more (--retries),
then left out. If all of the first points end with status 2, the sweep ends: the mistake may be in
every point. The output of a point is in its output.log. Signals are forwarded to all running
points. At the end the sweep writes sweep.csv and sweep.png, and lists the points that are done,
the best first.

  local   processes of this machine; the GPUs in CUDA_VISIBLE_DEVICES are divided among them
  slurm   a job for each point, with launch/slurm.sbatch; --sbatch=FLAG passes a flag to sbatch, and
          sbatch reads its SBATCH_... variables
  tpu     one point at a time on each of --pods, with launch/tpu_pod.sh train --watch, which reads
          the TPU_POD_... variables; DIR must have the same path on the pods and on this machine

exit status: 0 all points are done; 1 a point failed; 2 a mistake in the command, the sweep or the
flags of the first points; 75 stopped by SIGTERM or SIGUSR1, after which running points have saved:
start it again; 129 stopped by SIGHUP, 130 by Ctrl-C."""


class _Parser(argparse_flags.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SweepError(f"{message}; see --help")


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses the arguments of a sweep.

    Returns:
      The options, and the flags for experiments.train after `--`.

    Raises:
      SweepError: an unknown flag or a wrong value.
    """
    split = list(arguments).index("--") if "--" in arguments else len(arguments)
    options, more = _parser().parse_args(arguments[:split]), list(arguments[split + 1 :])
    for flag in more:
        if re.match(r"--?(config|workdir)(=|$)", flag):
            raise SweepError(f"{flag} is the sweep's to give; other flags may follow --")
    for name, least in (("draws", 1), ("retries", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise SweepError(f"--{name}={value}: give {least} or more")
    return options, more


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="launch.sweep",
        usage="python -m launch.sweep --sweep=SWEEP --workdir=DIR [FLAG ...] [-- FLAG ...]",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--sweep", required=True, help="sweep file, or KEY=VALUES;KEY=VALUES")
    add("--workdir", metavar="DIR", help="folder for the folders of the points")
    add("--config", metavar="FILE", help="FILE[:variant], instead of the one in a sweep file")
    add(
        "--launcher",
        choices=("local", "slurm", "tpu"),
        default="local",
        help="place where points run; by default local",
    )
    add(
        "--parallel",
        metavar="N",
        type=int,
        help="number of points at once; by default 1, for tpu one on each pod",
    )
    add("--pods", metavar="A,B", help="names of TPU pods")
    add(
        "--sbatch",
        metavar="FLAG",
        action="append",
        default=[],
        help="a flag for sbatch; may be repeated",
    )
    add(
        "--retries",
        metavar="N",
        type=int,
        default=1,
        help="number of further tries of a failed point; by default 1",
    )
    add("--draws", metavar="N", type=int, help="number of random points")
    add("--seed", metavar="N", type=int, help="seed of random values; by default 0")
    add(
        "--only",
        metavar="POINT",
        action="append",
        default=[],
        help="name or number, from 0, of a point to run; may be repeated",
    )
    add("--list", action="store_true", help="print numbers, names and overrides; run nothing")
    add(
        "--dry-run",
        action="store_true",
        help="print the commands for the repository root; run nothing",
    )
    return parser
