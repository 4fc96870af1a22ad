"""The mains as users start them: real processes, on networks that train in moments."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

TINY = [
    "--config=configs/digits.py",
    "--config.model.num_latents=4",
    "--config.model.latent_channels=8",
    "--config.model.self_heads=2",
    "--config.model.self_attends_per_tower=1",
    "--config.train.steps=12",
    "--config.train.log_every=1",
    "--config.train.eval_every=6",
    "--config.train.checkpoint_every=4",
]


_started: list[subprocess.Popen] = []


def start(
    main: str,
    *arguments: str,
    devices: int = 1,
    environment: Mapping[str, str] | None = None,
    **options,
) -> subprocess.Popen:
    """Starts `python -m experiments.MAIN`; `options` are those of Popen."""
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        **(environment or {}),
    }
    if any(argument.startswith("--coordinator") for argument in arguments):
        # On a busy machine one of several processes may be late by more than the usual 30 s.
        environment["XLA_FLAGS"] += " --xla_cpu_collective_timeout_seconds=200"
    elif "PERCEIVER_TEST_COMPILED" in os.environ:
        # Several processes compile for themselves: those that load would wait for one that does.
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": os.environ["PERCEIVER_TEST_COMPILED"],
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    process = subprocess.Popen(
        [sys.executable, "-m", f"experiments.{main}", *arguments],
        env=environment,
        text=True,
        **(dict(cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) | options),
    )
    _started.append(process)
    return process


def kill_all() -> None:
    """Kills what a test that failed has left running."""
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    _started.clear()


def finish(process: subprocess.Popen, status: int = 0, timeout: float = 300) -> tuple[str, str]:
    """Waits for a process and returns what it printed, having checked its exit status."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == status, f"status {process.returncode}\n{out}\n{err[-3000:]}"
    return out, err


def run(
    main: str, *arguments: str, status: int = 0, timeout: float = 300, **options
) -> tuple[str, str]:
    """Runs a main to its end."""
    return finish(start(main, *arguments, **options), status, timeout)


def exit_status(main: Callable[[Sequence[str]], int | None], arguments: Sequence[str]) -> int:
    """Runs a main in this process, and returns what it would end with."""
    try:
        return main(arguments) or 0
    except SystemExit as end:
        return end.code
