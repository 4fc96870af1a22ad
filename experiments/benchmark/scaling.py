"""Measures time and memory against the number of pixels, each point in a fresh process."""

import copy
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.benchmark import programs
from experiments.benchmark.measures import (
    calls_of_a_run,
    in_fresh_process,
    peak_memory,
    seconds_of_calls,
    spread,
    surroundings,
)
from experiments.benchmark.tables import figures, gigabytes, heading, number, rows
from experiments.benchmark.variants import Variant
from perceiver import networks
from perceiver.errors import InputError

KINDS = ("forward", "gradient")


def scaling(
    config: ConfigDict, sizes: Sequence[int], *, batch: int | None, seconds: float, repeats: int
) -> dict[str, Any]:
    """Measures forward pass and parameter gradient for square pictures of several sizes.

    Args:
      config: Config of a network for pictures; its own picture size is ignored.
      sizes: Sides of the pictures in pixels.
      batch: Number of examples per batch; None for one per device.
      seconds: Approximate duration of a run, which has at least one call.
      repeats: Number of runs.

    Returns:
      Plain values. For each size and kind: the spread of the seconds, the peak memory and the
      memory that XLA plans. For each kind: the exponents a of the three figures, fitted so that
      the increase over the smallest size is proportional to the increase in inputs to the power a.
      Parts that do not depend on M, such as latent towers and the interpreter, cancel out. An
      exponent is None if nothing grows, or with fewer than 3 sizes.

    Raises:
      InputError: The network takes no pictures, or a size is too large for the memory.
    """
    if (
        networks.modalities_of(config.model.to_dict()) != ["image"]
        or "image_size" not in config.data
    ):
        raise InputError(
            "scaling takes a config for pictures alone, such as configs/imagenet.py; "
            f"config.model.inputs has {', '.join(config.model.inputs)}"
        )
    points: list[dict[str, Any]] = []
    where: dict[str, Any] = {}
    for size in sorted(set(sizes)):
        resized = copy.deepcopy(config)
        resized.data.image_size = size
        for kind in KINDS:
            what = f"{kind} of {size} x {size} pixels"
            point = in_fresh_process(_measured, kind, resized, batch, seconds, repeats, what=what)
            where = point.pop("surroundings")
            points.append({"program": kind, "image_size": size, "inputs": size**2, **point})
            # Printed at once: a run takes long, and the next size may not fit.
            print(
                f"{what}: {number(point['seconds']['median'])} s, {gigabytes(point['peak_bytes'])}",
                file=sys.stderr,
                flush=True,
            )
    return {
        "measured": "scaling",
        "surroundings": where,
        "repeats": repeats,
        "batch_size": points[0]["batch_size"],
        "points": points,
        "exponents": {kind: _exponents(points_of(points, kind)) for kind in KINDS},
    }


def points_of(points: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Returns the points of one kind, the smallest size first."""
    return [point for point in points if point["program"] == kind]


def _measured(
    kind: str, config: ConfigDict, batch: int | None, seconds: float, repeats: int
) -> dict[str, Any]:
    """Measures one kind of program at one size, in this process."""
    before = peak_memory()
    variant = Variant("config", config)
    size = programs.batch_size(variant.experiment, kind, batch or jax.local_device_count())
    program = programs.program(kind, variant, size)
    plan = program.compile()
    jax.block_until_ready(program())
    calls = calls_of_a_run(program, seconds)
    return {
        "surroundings": surroundings(),
        "batch_size": size,
        "seconds": spread([seconds_of_calls(program, calls) for _ in range(repeats)]),
        "before_bytes": before,
        "peak_bytes": peak_memory(),
        "planned_bytes": plan.temp_size_in_bytes
        + plan.argument_size_in_bytes
        + plan.output_size_in_bytes,
    }


def _exponents(points: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    inputs = [point["inputs"] for point in points]
    return {
        "time": exponent(inputs, [point["seconds"]["median"] for point in points]),
        "memory": exponent(inputs, [point["peak_bytes"] for point in points]),
        "planned memory": exponent(inputs, [point["planned_bytes"] for point in points]),
    }


def exponent(inputs: Sequence[int], values: Sequence[float]) -> float | None:
    """Returns the slope of log(value - first value) against log(M - first M), by least squares."""
    x = [m - inputs[0] for m in inputs[1:]]
    y = [value - values[0] for value in values[1:]]
    if len(x) < 2 or min(y) <= 0:
        return None
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def scaling_table(result: dict[str, Any]) -> str:
    """Formats the result as text."""
    forward, gradient = (points_of(result["points"], kind) for kind in KINDS)
    lines = {
        f"{one['inputs']:,}": [
            cell
            for point in (one, two)
            for cell in (
                figures(point["seconds"]),
                gigabytes(point["peak_bytes"]),
                gigabytes(point["planned_bytes"]),
            )
        ]
        for one, two in zip(forward, gradient, strict=True)
    }
    text = [
        *heading(result),
        f"batch {result['batch_size']:,}; seconds are the median (lowest to highest) of "
        f"{result['repeats']} runs,",
        "memory is the peak in use, planned the memory that XLA plans for the program",
        "",
        *rows([x for k in KINDS for x in (f"{k}, s", "memory", "planned")], lines),
        "",
        "exponents of the increase over the smallest size, as a power of the increase in inputs:",
    ]
    for kind, of_kind in result["exponents"].items():
        found = (f"{k} {'-' if v is None else f'{v:.2f}'}" for k, v in of_kind.items())
        text.append(f"  {kind}: {', '.join(found)}")
    return "\n".join(text)


def sizes_of(texts: Sequence[str]) -> list[int]:
    """Parses the value of --sizes.

    Raises:
      InputError: A word is not a size.
    """
    for text in texts:
        if not text.isdecimal() or int(text) < 1:
            raise InputError(
                f"--sizes has {text!r}; give sides of pictures of at least 1 pixel, as in 100,178"
            )
    if not texts:
        raise InputError("--sizes is empty; give sides of pictures in pixels, as in 100,178")
    return [int(text) for text in texts]
