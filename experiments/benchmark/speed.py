"""Measures the speed of a forward pass or training step, alone or against a second variant."""

import time
from collections.abc import Sequence
from typing import Any

import jax

from experiments.benchmark import programs
from experiments.benchmark.measures import (
    calls_of_a_run,
    matrix_rate,
    memory_errors,
    peak_memory,
    seconds_of_calls,
    spread,
    surroundings,
)
from experiments.benchmark.tables import figures, gigabytes, heading, number, rows
from experiments.benchmark.variants import Variant


def speed(
    kind: str, variants: Sequence[Variant], *, batch: int | None, seconds: float, repeats: int
) -> dict[str, Any]:
    """Times a 'forward' or 'step' of each variant, in alternating runs.

    Args:
      kind: Kind of program.
      variants: The config's variant, and optionally one to compare it with.
      batch: Number of examples per batch; None for the choice of `programs.batch_size`.
      seconds: Approximate duration of a run, which has at least one call.
      repeats: Number of runs.

    Returns:
      Plain values. For each variant: the seconds of the first call, which compiles, and the spread
      of the following calls. FLOP/s are computed from the formulae; 'share_of_matrix_rate' is their
      share of the rate of large matrix products before or after. 'times_as_fast' is the spread of
      the second variant's seconds divided by the config's.
    """
    programs.check(variants, [kind], batch)
    experiment, config = variants[0].experiment, variants[0].config
    size = programs.batch_size(experiment, kind, batch)
    dtype = config.model.get("dtype", "float32")
    made: list[programs.Program] = []
    calls: list[int] = []
    described: list[dict[str, Any]] = []
    with memory_errors(f"{kind}, batch {size}"):
        for variant in variants:
            program = programs.program(kind, variant, size)
            began = time.perf_counter()
            jax.block_until_ready(program())
            first = time.perf_counter() - began
            made.append(program)
            calls.append(calls_of_a_run(program, seconds))
            # The peak after the second variant would include the first.
            peak = None if described else peak_memory()
            described.append(
                {"form": variant.name, "first_call_seconds": first, "peak_memory_bytes": peak}
            )
        rates = [matrix_rate(dtype)]
        turns = [
            [seconds_of_calls(one, n) for one, n in zip(made, calls, strict=True)]
            for _ in range(repeats)
        ]
        rates.append(matrix_rate(dtype))
    where = surroundings()
    rate = max(rates) * where["devices"]
    flops = programs.flops(experiment, kind)
    for i, one in enumerate(described):
        times = [turn[i] for turn in turns]
        speeds = [size / x for x in times]
        one |= {
            "calls_of_a_run": calls[i],
            "seconds": spread(times),
            "examples_per_second": spread(speeds),
            "flops_per_second": spread([flops * x for x in speeds]),
            "share_of_matrix_rate": spread([flops * x / rate for x in speeds]),
        }
    result = {
        "measured": kind,
        "surroundings": where,
        "dtype": dtype,
        "config_batch_size": programs.configured_batch_size(config, kind),
        "batch_size": size,
        "flops_per_example": flops,
        "repeats": repeats,
        "matrix_flops_per_second": {"before": rates[0], "after": rates[1]},
        "forms": described,
    }
    if len(variants) > 1:
        result["times_as_fast"] = spread([other / own for own, other in turns])
    return result


def speed_table(result: dict[str, Any]) -> str:
    """Formats the result as text."""
    variants, rates = result["forms"], result["matrix_flops_per_second"]
    lines = {
        "first call, s": [number(x["first_call_seconds"]) for x in variants],
        "calls a run": [f"{x['calls_of_a_run']:,}" for x in variants],
        "seconds a call": [figures(x["seconds"]) for x in variants],
        "examples a second": [figures(x["examples_per_second"]) for x in variants],
        "GFLOP/s": [figures(x["flops_per_second"], 1e9) for x in variants],
        "% of matrix rate": [figures(x["share_of_matrix_rate"], 0.01) for x in variants],
        "peak memory": [
            "" if x["peak_memory_bytes"] is None else gigabytes(x["peak_memory_bytes"])
            for x in variants
        ],
    }
    text = [
        *heading(result),
        f"{result['measured']}, {result['dtype']}, batch {result['batch_size']:,} (config: "
        f"{result['config_batch_size']:,}), {number(result['flops_per_example'] / 1e9)} GFLOPs "
        "an example",
        f"matrix products of {result['dtype']}: {number(rates['before'] / 1e9)} GFLOP/s before, "
        f"{number(rates['after'] / 1e9)} after",
        f"median (lowest to highest) of {result['repeats']} runs",
        "",
        *rows([x["form"] for x in variants], lines),
    ]
    if "times_as_fast" in result:
        ratio = figures(result["times_as_fast"])
        text += ["", f"config is {ratio} times as fast as {variants[1]['form']}"]
    return "\n".join(text)
