"""Measures times, matrix rate and memory, and runs functions in fresh processes."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from perceiver.errors import InputError

T = TypeVar("T")

# Sides of square matrix products. The smallest side that takes long enough is used.
_SIDES = (1024, 2048, 4096, 8192, 16384)
_LONG_ENOUGH = 0.05  # s
_PRODUCTS = 5


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def num_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """Returns the name of the processor."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def surroundings() -> dict[str, Any]:
    """Returns the machine, devices and versions that a time depends on."""
    devices = jax.local_devices()
    on_cpu = devices[0].platform == "cpu"
    return {
        "platform": devices[0].platform,
        "device": cpu_name() if on_cpu else devices[0].device_kind,
        "devices": len(devices),
        "cores": num_cores(),
        "jax": jax.__version__,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def matrix_rate(dtype: str) -> float:
    """Measures the FLOP/s of a large square matrix product on one device, the best of several."""
    product = jax.jit(jnp.matmul)
    best = 0.0
    for side in _SIDES:
        draw = np.random.default_rng(side)
        a, b = (jnp.asarray(draw.random((side, side), np.float32), dtype) for _ in range(2))
        product(a, b).block_until_ready()
        times = []
        for _ in range(_PRODUCTS):
            began = time.perf_counter()
            product(a, b).block_until_ready()
            times.append(time.perf_counter() - began)
        best = max(best, 2 * side**3 / min(times))
        if min(times) >= _LONG_ENOUGH:
            break
    return best


def seconds_of_calls(call: Callable[[], Any], calls: int) -> float:
    """Measures the mean seconds of consecutive calls, dispatched as training steps are.

    While one call runs, the next one is dispatched; no more than two are in flight.
    """
    previous = None
    began = time.perf_counter()
    for _ in range(calls):
        result = call()
        if previous is not None:
            jax.block_until_ready(previous)
        previous = result
    jax.block_until_ready(previous)
    return (time.perf_counter() - began) / calls


def calls_of_a_run(call: Callable[[], Any], seconds: float) -> int:
    """Returns the number of calls in a run of about `seconds`, at least 1; it makes one call."""
    return max(1, round(seconds / seconds_of_calls(call, 1)))


def peak_memory() -> int:
    """Returns the peak bytes in use on the device, or of this process if the device is a CPU."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return _peak_resident()
    return max(device.memory_stats()["peak_bytes_in_use"] for device in devices)


def _peak_resident() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` of a new process starts at its parent's value.
        (line,) = [x for x in status.read_text().splitlines() if x.startswith("VmHWM:")]
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def in_fresh_process(function: Callable[..., T], *arguments: Any, what: str) -> T:
    """Calls a function in a fresh process and returns its result.

    Args:
      function: A module's function of picklable values.
      *arguments: Its arguments.
      what: Name of the measurement, for messages.

    Raises:
      InputError: The process was killed, or the device's memory is too small.
    """
    fresh = multiprocessing.get_context("spawn")  # a fork has the parent's memory, and JAX's locks
    with (
        memory_errors(what),
        concurrent.futures.ProcessPoolExecutor(max_workers=1, mp_context=fresh) as pool,
    ):
        try:
            return pool.submit(function, *arguments).result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise InputError(
                f"{what}: its process was killed, as happens where memory runs out; {_LESS}"
            ) from error


_LESS = "take a smaller --batch or smaller inputs, or leave this variant out"


@contextlib.contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """A context that turns exhausted device memory into an InputError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InputError(f"{what}: the device's memory is too small; {_LESS}") from error
