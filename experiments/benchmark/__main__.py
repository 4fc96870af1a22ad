"""Times the network and the input pipelines of a config on this machine."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmark.data import data_speed, data_table
from experiments.benchmark.scaling import scaling, scaling_table, sizes_of
from experiments.benchmark.separate_processes import (
    compile_seconds,
    compile_table,
    memory,
    memory_table,
)
from experiments.benchmark.speed import speed, speed_table
from experiments.benchmark.variants import variants
from experiments.cli.main import run
from experiments.cli.parser import Parser, listed, number, path, whole_number
from perceiver.errors import InputError

# Seconds of a run if --seconds is not given.
_SECONDS = 1.0
_SECONDS_OF_DATA = 10.0  # longer, because batches are prefetched

# The flags that a subcommand takes in addition to --config and --format.
_TAKES = {
    "forward": ("batch", "against", "seconds", "repeats"),
    "step": ("batch", "against", "seconds", "repeats"),
    "compile": ("batch", "against", "repeats"),
    "memory": ("batch", "against"),
    "scaling": ("batch", "sizes", "plot", "seconds", "repeats"),
    "data": ("seconds", "repeats"),
}
_EXAMPLES = {
    "forward": "--config=configs/digits.py",
    "step": "--config=configs/digits.py --against=plain",
    "compile": "--config=configs/digits.py",
    "memory": "--config=configs/imagenet.py --batch=1",
    "scaling": "--config=configs/imagenet.py --plot=scaling.png",
    "data": "--config=configs/digits.py --seconds=10 --repeats=3",
}
_FLAGS: dict[str, dict[str, Any]] = {
    "batch": dict(
        type=whole_number(1),
        help="number of examples per batch; by default few enough to take seconds, for scaling one "
        "per device",
    ),
    "against": dict(help="a second variant to time: plain, or config.KEY=VALUE,..."),
    "sizes": dict(
        type=listed,
        default="100,178,316,562,1000",
        help="sides of the square pictures, in pixels",
    ),
    "plot": dict(metavar="FILE.png", type=path, help="PNG for the curves of scaling"),
    "seconds": dict(
        type=number(0.01),
        help=f"approximate duration of a run; by default {_SECONDS:g}, for data "
        f"{_SECONDS_OF_DATA:g}",
    ),
    "repeats": dict(type=whole_number(1), default=5, help="number of runs"),
    "format": dict(default="text", choices=("text", "json"), help="a table to read, or JSON"),
}


def parser() -> Parser:
    """Returns the parser of the program's flags."""
    about = """Times a config on this machine.

forward: the class logits of a batch in evaluation.
step:    a training step; each starts from the state of the one before.
compile: seconds to trace and to compile both, each time in a fresh process, without a cache.
memory:  the peak memory of both, each in a fresh process, and what XLA plans.
scaling: time and memory of forward pass and gradient against the number of pixels, each in a fresh
         process; --sizes are sides of square pictures, --plot=FILE.png draws them.
data:    examples a second of the training and of the evaluation pipeline, without a model. If
         `cores busy` is below the number of cores, they wait for the disk or for other programs;
         overrides such as --config.data.randaugment_layers=0 show what a part costs.

Networks get random inputs that stay on the device, so only `data` needs TensorFlow and a data set.
Times are the median, lowest and highest of --repeats runs of about --seconds each. FLOPs follow the
formulae of `experiments.model_table`, with a training step as three forward passes, and are
compared with the rate of large matrix products on the device.

--against times a second variant, alternating with the config's: other values of the config, as in
--against=config.model.remat=block, or --against=plain, the Perceiver in plain JAX without loops or
sharing of work (perceiver/plain_perceiver.py)."""
    parser = Parser(
        "experiments.benchmark",
        about,
        examples=[f"{name} {arguments}" for name, arguments in reversed(_EXAMPLES.items())],
    )
    for name, takes in _TAKES.items():
        subcommand = parser.add_subcommand(name, about, examples=[_EXAMPLES[name]])
        subcommand.add_config()
        for flag in (*takes, "format"):
            subcommand.add_argument(f"--{flag}", **_FLAGS[flag])
    return parser


def main(options: argparse.Namespace) -> None:
    """Measures and prints the result."""
    plot = options.plot if options.subcommand == "scaling" else None
    if plot is not None and not Path(plot).absolute().parent.is_dir():
        raise InputError(f"--plot={plot}: there is no such folder; make it first")
    values, table = measure(options)
    result = {"config": options.config_spec, **values}
    print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    if plot is not None:
        from experiments.benchmark.plot import draw_scaling  # matplotlib takes a second

        draw_scaling(result, Path(plot))


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], Callable[[dict], str]]:
    """Runs a subcommand; returns plain values and the function that formats them as a table."""
    name, config = options.subcommand, options.config
    if name in ("forward", "step"):
        both = variants(config, options.against)
        return speed(name, both, batch=options.batch, **_runs(options)), speed_table
    if name == "compile":
        both = variants(config, options.against)
        return compile_seconds(both, batch=options.batch, repeats=options.repeats), compile_table
    if name == "memory":
        return memory(variants(config, options.against), batch=options.batch), memory_table
    if name == "scaling":
        sizes = sizes_of(options.sizes)
        return scaling(config, sizes, batch=options.batch, **_runs(options)), scaling_table
    return data_speed(config, **_runs(options)), data_table


def _runs(options: argparse.Namespace) -> dict[str, Any]:
    usual = _SECONDS_OF_DATA if options.subcommand == "data" else _SECONDS
    return dict(seconds=options.seconds or usual, repeats=options.repeats)


if __name__ == "__main__":
    run(main, parser())
