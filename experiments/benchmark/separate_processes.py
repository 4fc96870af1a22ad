"""Measures compile time and peak memory, each figure in a fresh process."""

import itertools
import time
from collections.abc import Sequence
from typing import Any

import jax

from experiments.benchmark import programs
from experiments.benchmark.measures import in_fresh_process, peak_memory, spread, surroundings
from experiments.benchmark.tables import figures, gigabytes, heading, rows
from experiments.benchmark.variants import Variant

_KINDS = ("forward", "step")
_STEPS = 3  # the first call may hold less memory than later ones


def compile_seconds(
    variants: Sequence[Variant], *, batch: int | None, repeats: int
) -> dict[str, Any]:
    """Measures seconds to trace, lower and compile forward pass and step of each variant."""
    in_fresh_process(programs.check, variants, _KINDS, batch, what="the check of the variants")
    results = []
    where: dict[str, Any] = {}
    for kind in _KINDS:
        for variant in variants:
            what = f"compiling {kind} of {variant.name}"
            runs = [
                in_fresh_process(_compiled, kind, variant, batch, what=what) for _ in range(repeats)
            ]
            where = runs[0]["surroundings"]
            results.append(
                {
                    "program": kind,
                    "form": variant.name,
                    "batch_size": runs[0]["batch_size"],
                    **{x: spread([run[x] for run in runs]) for x in _STAGES},
                }
            )
    return {
        "measured": "compile",
        "surroundings": where,
        "repeats": repeats,
        "programs": results,
    }


_STAGES = ("set_up_seconds", "trace_seconds", "compile_seconds")


def _compiled(kind: str, variant: Variant, batch: int | None) -> dict[str, Any]:
    """Compiles a program once, in this process."""
    jax.config.update("jax_enable_compilation_cache", False)
    size = programs.batch_size(variant.experiment, kind, batch)
    times = [time.perf_counter()]
    program = programs.program(kind, variant, size)
    times.append(time.perf_counter())
    lowered = program.lower()
    times.append(time.perf_counter())
    lowered.compile()
    times.append(time.perf_counter())
    passed = [after - before for before, after in itertools.pairwise(times)]
    return {
        "surroundings": surroundings(),
        "batch_size": size,
        **dict(zip(_STAGES, passed, strict=True)),
    }


def compile_table(result: dict[str, Any]) -> str:
    """Formats the result as text."""
    lines = {
        _name(one): [f"{one['batch_size']:,}", *(figures(one[x]) for x in _STAGES)]
        for one in result["programs"]
    }
    return "\n".join(
        [
            *heading(result),
            f"seconds, median (lowest to highest) of {result['repeats']} processes",
            "",
            *rows(["batch", "set up", "trace and lower", "compile"], lines),
        ]
    )


def memory(variants: Sequence[Variant], *, batch: int | None) -> dict[str, Any]:
    """Measures the peak memory of forward pass and training step of each variant."""
    in_fresh_process(programs.check, variants, _KINDS, batch, what="the check of the variants")
    results = []
    where: dict[str, Any] = {}
    for kind in _KINDS:
        for variant in variants:
            run = in_fresh_process(
                _memory, kind, variant, batch, what=f"memory of {kind} of {variant.name}"
            )
            where = run.pop("surroundings")
            results.append({"program": kind, "form": variant.name, **run})
    return {"measured": "memory", "surroundings": where, "steps": _STEPS, "programs": results}


def _memory(kind: str, variant: Variant, batch: int | None) -> dict[str, Any]:
    """Initialises a program and calls it a few times, in this process."""
    before = peak_memory()  # before any array is on a device
    size = programs.batch_size(variant.experiment, kind, batch)
    program = programs.program(kind, variant, size)
    plan = program.compile()
    for _ in range(_STEPS):
        jax.block_until_ready(program())
    return {
        "surroundings": surroundings(),
        "batch_size": size,
        "before_bytes": before,
        "peak_bytes": peak_memory(),
        "xla": {
            "temporary_bytes": plan.temp_size_in_bytes,
            "argument_bytes": plan.argument_size_in_bytes,
            "output_bytes": plan.output_size_in_bytes,
            "aliased_bytes": plan.alias_size_in_bytes,
        },
    }


def memory_table(result: dict[str, Any]) -> str:
    """Formats the result as text."""
    lines = {
        _name(one): [
            f"{one['batch_size']:,}",
            *(gigabytes(one[x]) for x in ("before_bytes", "peak_bytes")),
            *map(gigabytes, one["xla"].values()),
        ]
        for one in result["programs"]
    }
    titles = ["batch", "before", "peak", "XLA: temporary", "arguments", "output", "of it aliased"]
    holder = "process" if result["surroundings"]["platform"] == "cpu" else "device"
    return "\n".join(
        [
            *heading(result),
            f"peak memory of the {holder} before the first array and over the first "
            f"{result['steps']} calls, and the memory that XLA plans for a call",
            "",
            *rows(titles, lines),
        ]
    )


def _name(one: dict[str, Any]) -> str:
    return one["program"] if one["form"] == "config" else f"{one['program']}, {one['form']}"
