"""Measures the speed of a config's input pipelines, without a model.

The number of busy cores shows the bottleneck: if it is below the number of cores, the pipelines
wait for the disk or for other programs.
"""

import dataclasses
import itertools
import time
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from experiments.benchmark.measures import cpu_name, num_cores, spread
from experiments.run.from_config import check_numbers, data_options, training_batches
from perceiver.data import registry
from perceiver.data.dataset import Source

# Largest timed batch. Larger batches are no faster, and a run would have few of them.
_MOST_EXAMPLES = 128
_MOST_BYTES = 256 * 2**20

# A shorter split is repeated, because restarting it would dominate the time.
_SHORTEST_PASS = 100_000


def data_speed(config: ConfigDict, *, seconds: float, repeats: int) -> dict:
    """Measures both pipelines in `repeats` runs of `seconds`, after a warm-up run."""
    check_numbers(config)
    dataset = registry.load(**data_options(config))
    splits = {"train": dataset.train, "eval": dataset.eval}
    return {
        "cpu": cpu_name(),
        "cores": num_cores(),
        "seconds": seconds,
        "repeats": repeats,
        **{
            split: timed_split(split, source, config, seconds=seconds, repeats=repeats)
            for split, source in splits.items()
        },
    }


def timed_split(
    split: str, source: Source, config: ConfigDict, *, seconds: float, repeats: int
) -> dict:
    """Measures the pipeline of one split; returns its sizes and speed as plain values."""
    batches = training_batches if split == "train" else evaluation_batches
    one = next(batches(config, source, batch_size=2))  # examples may be mixed in pairs
    bytes_of_one = sum(value.nbytes for value in one.values()) // 2
    wanted = config[split].batch_size
    batch_size = fitting(wanted, bytes_of_one)
    runs = timed(batches(config, source, batch_size=batch_size), seconds=seconds, repeats=repeats)
    return {
        "num_examples": source.num_examples,
        "windows": source.eval_windows if split == "eval" else 0,
        "config_batch_size": wanted,
        "batch_size": batch_size,
        "batch_bytes": bytes_of_one * batch_size,
        "features": {name: f"{v.dtype} {list(v.shape[1:])}" for name, v in one.items()},
        "examples_per_second": spread([r.examples / r.seconds for r in runs]),
        "examples_per_second_per_core": spread(
            [r.examples / r.seconds / num_cores() for r in runs]
        ),
        "cpu_milliseconds_per_example": spread([1e3 * r.cpu_seconds / r.examples for r in runs]),
        "cores_busy": spread([r.cpu_seconds / r.seconds for r in runs]),
    }


def fitting(wanted: int, bytes_of_one: int) -> int:
    """Returns the batch size to time, given the config's and the bytes of an example."""
    return min(wanted, _MOST_EXAMPLES, max(2, _MOST_BYTES // bytes_of_one // 2 * 2))


def evaluation_batches(
    _: ConfigDict, source: Source, *, batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yields evaluation batches without end: the split is repeated."""
    size = source.num_examples
    repeated = dataclasses.replace(
        source,
        num_examples=size * -(-_SHORTEST_PASS // size),
        example=lambda index, seed: source.example(index % size, seed),
        name=lambda index: source.name(index % size),
    )
    while True:
        yield from repeated.eval_batches(batch_size=batch_size)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Examples and time of one measured interval."""

    examples: int
    seconds: float
    cpu_seconds: float  # summed over all threads


def timed(
    batches: Iterator[dict[str, np.ndarray]], *, seconds: float, repeats: int
) -> list[Measurement]:
    """Takes batches for `repeats` intervals of at least `seconds`, after a warm-up interval.

    The intervals follow each other without a pause, so that prefetched batches cancel out.
    """
    runs = []
    for _ in range(1 + repeats):
        began, began_cpu = time.monotonic(), time.process_time()
        examples = 0
        while time.monotonic() - began < seconds:
            batch = next(batches)
            examples += len(batch["index"]) if "mask" not in batch else int(batch["mask"].sum())
        runs.append(
            Measurement(examples, time.monotonic() - began, time.process_time() - began_cpu)
        )
    return runs[1:]


def data_table(result: dict) -> str:
    """Formats the result as text."""
    splits = [result["train"], result["eval"]]

    def row(name: str, cells: list[str]) -> str:
        return f"{name:<20}" + "".join(f"{cell:>32}" for cell in cells)

    def figures(name: str, key: str, digits: int) -> str:
        texts = [{k: f"{v:,.{digits}f}" for k, v in split[key].items()} for split in splits]
        return row(name, [f"{t['median']} ({t['min']} to {t['max']})" for t in texts])

    lines = [
        f"{result['config']} on {result['cpu']}, {result['cores']} cores",
        f"median (lowest to highest) of {result['repeats']} runs of {result['seconds']:g} s",
        "",
        row("", ["train", "eval"]),
        row("examples", [f"{s['num_examples']:,}" for s in splits]),
        row("windows of each", [f"{s['windows'] or 1}" for s in splits]),
        row("config's batch", [f"{s['config_batch_size']:,}" for s in splits]),
        row("batch timed", [f"{s['batch_size']:,}" for s in splits]),
        row("bytes of it", [f"{s['batch_bytes']:,}" for s in splits]),
        figures("examples a second", "examples_per_second", 1),
        figures("a second and core", "examples_per_second_per_core", 1),
        figures("CPU ms an example", "cpu_milliseconds_per_example", 3),
        figures("cores busy", "cores_busy", 2),
        "",
    ]
    names = dict.fromkeys(itertools.chain(*(s["features"] for s in splits)))
    lines += [row(name, [s["features"].get(name, "") for s in splits]) for name in names]
    return "\n".join(lines)
