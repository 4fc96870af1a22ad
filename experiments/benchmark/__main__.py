"""Times a config on this machine: its network, forward and in training, and its input pipelines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

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
from experiments.cli.main import run_subcommand
from perceiver.errors import InputError

USAGE = """Times a config on this machine.

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
sharing of work (perceiver/plain_perceiver.py).

  python -m experiments.benchmark data --config=configs/digits.py --seconds=10 --repeats=3
  python -m experiments.benchmark memory --config=configs/imagenet.py --batch=1
  python -m experiments.benchmark scaling --config=configs/imagenet.py --plot=scaling.png
  python -m experiments.benchmark step --config=configs/digits.py --against=plain
"""

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


def measure(name: str, config: ConfigDict) -> tuple[dict[str, Any], Callable[[dict], str]]:
    """Runs a subcommand; returns plain values and the function that formats them as a table."""
    given = flags.FLAGS
    runs = dict(seconds=given.seconds or _SECONDS, repeats=given.repeats)
    if name in ("forward", "step"):
        both = variants(config, given.against)
        return speed(name, both, batch=given.batch, **runs), speed_table
    if name == "compile":
        both = variants(config, given.against)
        return compile_seconds(both, batch=given.batch, repeats=given.repeats), compile_table
    if name == "memory":
        return memory(variants(config, given.against), batch=given.batch), memory_table
    if name == "scaling":
        return scaling(config, sizes_of(given.sizes), batch=given.batch, **runs), scaling_table
    runs["seconds"] = given.seconds or _SECONDS_OF_DATA
    return data_speed(config, **runs), data_table


def benchmark(name: str) -> Callable[[ConfigDict, str | None], None]:
    """Returns the main function of a subcommand."""

    def main(config: ConfigDict, _: str | None) -> None:
        for flag in {x for takes in _TAKES.values() for x in takes} - {*_TAKES[name]}:
            if flags.FLAGS[flag].present:
                takers = [other for other, takes in _TAKES.items() if flag in takes]
                raise InputError(f"--{flag} is not for {name}; it is for {', '.join(takers)}")
        plot = flags.FLAGS.plot
        if plot is not None and not Path(plot).absolute().parent.is_dir():
            raise InputError(f"--plot={plot}: there is no such folder; make it first")
        values, table = measure(name, config)
        file = config_flags.get_config_filename(flags.FLAGS["config"])
        result = {"config": file, **values}
        print(json.dumps(result, indent=2) if flags.FLAGS.format == "json" else table(result))
        if plot is not None:
            from experiments.benchmark.plot import draw_scaling  # only here is matplotlib needed

            draw_scaling(result, Path(plot))

    return main


if __name__ == "__main__":
    flags.DEFINE_integer("batch", None, "examples of a batch; else what fits", lower_bound=1)
    flags.DEFINE_string("against", None, "a second variant to time: plain, or config.KEY=VALUE,...")
    flags.DEFINE_list(
        "sizes", ["100", "178", "316", "562", "1000"], "sides of pictures, in pixels, of scaling"
    )
    flags.DEFINE_string("plot", None, "PNG for the curves of scaling")
    flags.DEFINE_float(
        "seconds",
        None,
        f"how long a run lasts, about; else {_SECONDS:g}, of data {_SECONDS_OF_DATA:g}",
        lower_bound=0.01,
    )
    flags.DEFINE_integer("repeats", 5, "how many runs", lower_bound=1)
    flags.DEFINE_enum("format", "text", ["text", "json"], "a table to read, or JSON")
    run_subcommand({name: benchmark(name) for name in _TAKES}, USAGE, required=("config",))
