"""Connects the processes of a run, compares their configs and code, and ends them together.

A process that runs alone skips all of this.
"""

import argparse
import faulthandler
import hashlib
import os
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import jax

from experiments.cli.parser import Parser, whole_number
from perceiver.training.multiprocess import exchange

_CODE = ("perceiver", "experiments")
_GRACE_SECONDS = 20
_heartbeat_seconds = 100
_hosts: list[str] = []  # by process, after `agree`


class ProcessesError(Exception):
    """Wrong input: flags that do not go together, or processes with different configs or code."""


class MeetingError(Exception):
    """A failure to connect the processes of a run; the next start may succeed."""


def add_flags(parser: Parser) -> None:
    """Adds the flags with which processes find each other."""
    add = parser.add_argument
    add(
        "--distributed",
        default="auto",
        choices=("auto", "cluster", "alone"),
        help="auto: connect the processes of a SLURM step or a TPU pod, if the environment shows "
        "one; cluster: connect the processes that JAX detects, or fail; alone: this process only",
    )
    add("--coordinator", help="HOST:PORT of process 0, to connect by address")
    add("--num_processes", type=int, help="number of processes that connect to --coordinator")
    add("--process_id", type=int, help="number of this process, from 0")
    add(
        "--meeting_seconds",
        type=whole_number(5),
        default=300,
        help="time to wait for the other processes to start",
    )
    add(
        "--heartbeat_seconds",
        type=whole_number(5),
        default=_heartbeat_seconds,
        help="time without a sign of life after which a process counts as lost",
    )


def connect(options: argparse.Namespace) -> None:
    """Connects to the other processes, before anything uses a device.

    Args:
      options: parsed flags, including those of `add_flags`.

    Raises:
      ProcessesError: flags that do not go together.
      MeetingError: the other processes can't be reached. A run of many processes must not
        continue as many runs of one process.
    """
    global _heartbeat_seconds
    _heartbeat_seconds = options.heartbeat_seconds
    address = (options.coordinator, options.num_processes, options.process_id)
    by_address = any(value is not None for value in address)
    expected = None  # number of processes, if it is known before they connect
    if by_address:
        _check_address(*address)
        expected = options.num_processes
    elif options.distributed == "alone":
        return
    elif options.distributed == "auto":
        expected = _processes_of_environment()
        if not expected:
            return
    if by_address and options.process_id > 0:
        _wait_for(options.coordinator, options.meeting_seconds)
    # The service would take SIGTERM away from `perceiver.training.stopping`.
    jax.config.update("jax_enable_preemption_service", False)
    traced = faulthandler.is_enabled()
    faulthandler.disable()  # if processes are missing, JAX prints the reason and aborts
    try:
        jax.distributed.initialize(
            coordinator_address=options.coordinator,
            num_processes=options.num_processes,
            process_id=options.process_id,
            heartbeat_timeout_seconds=options.heartbeat_seconds,
            initialization_timeout=options.meeting_seconds,
        )
    except (RuntimeError, ValueError, OSError) as error:
        how = f"at --coordinator={options.coordinator}" if by_address else "of this cluster"
        raise MeetingError(
            f"can't meet the other processes {how}: {in_one_line(error)}; start all of them within "
            f"{options.meeting_seconds} s, or give --distributed=alone to run this process only"
        ) from error
    if traced:
        faulthandler.enable()
    if expected and jax.process_count() != expected:
        raise MeetingError(
            f"{expected} processes were started, but JAX has {jax.process_count()}; check "
            "JAX_PLATFORMS, and that this host sees its devices"
        )


def _check_address(coordinator: str | None, count: int | None, index: int | None) -> None:
    if coordinator is None or count is None or index is None:
        given = {"coordinator": coordinator, "num_processes": count, "process_id": index}
        missing = next(name for name, value in given.items() if value is None)
        raise ProcessesError(
            f"--{missing} is missing; --coordinator, --num_processes and --process_id go together"
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ProcessesError(f"--coordinator={coordinator} is not HOST:PORT, such as 10.0.0.2:8476")
    if not 0 <= index < count:
        raise ProcessesError(f"--process_id={index} of --num_processes={count}; count from 0")


def _wait_for(coordinator: str, seconds: int) -> None:
    """Waits until process 0 listens; JAX would abort without naming the address."""
    host, _, port = coordinator.rpartition(":")
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise MeetingError(
                    f"nobody answers at --coordinator={coordinator} within {seconds} s: "
                    f"{in_one_line(error)}; start process 0, and check that this host reaches it"
                ) from error
        time.sleep(0.5)


def _processes_of_environment() -> int:
    """Returns the number of processes that the environment of a cluster shows; 0 without one."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "")  # set by srun, not by sbatch
    workers = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    count = int(tasks) if tasks.isdecimal() else len(workers)
    return count if count > 1 else 0


def agree(config: dict[str, Any]) -> None:
    """Checks that all processes have the same config, code, JAX version and devices.

    Args:
      config: values of the config by key.

    Raises:
      ProcessesError: a difference. All processes raise it, and name the first one.
    """
    if jax.process_count() == 1:
        return
    _check_devices()
    facts = {
        **{f"config.{key}": value for key, value in config.items()},
        "the code (SHA-256 of its files)": code_version(),
        "jax": jax.__version__,
    }
    everyone = exchange({"host": socket.gethostname(), "facts": facts})
    _hosts[:] = [each["host"] for each in everyone]
    ours = everyone[0]["facts"]
    for index, each in enumerate(everyone):
        theirs = each["facts"]
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise ProcessesError(
                    f"{name} is {theirs.get(name)} in {_who(index)} and {ours.get(name)} in "
                    f"{_who(0)}; start all processes alike"
                )


def _check_devices() -> None:
    """Checks that all processes have the same devices, without which they cannot communicate."""
    by_process = [
        Counter(device.device_kind for device in jax.devices() if device.process_index == index)
        for index in range(jax.process_count())
    ]
    for index, devices in enumerate(by_process):
        if devices != by_process[0]:
            theirs, ours = (
                ", ".join(f"{count} x {kind}" for kind, count in by_process[i].items())
                for i in (index, 0)
            )
            raise ProcessesError(
                f"{_who(index)} has {theirs} and {_who(0)} has {ours}; "
                "give all processes the same devices"
            )


def code_version() -> str:
    """Returns a SHA-256 of the project's Python files; a git revision would miss local changes."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for file in sorted(file for folder in _CODE for file in (root / folder).rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def is_collective_failure(error: BaseException | None) -> bool:
    """Returns whether a collective operation of all processes failed and caused this error."""
    while error:
        full = str(error).startswith("RESOURCE_EXHAUSTED")  # this process's own memory
        # Between CPUs Gloo fails, with a ValueError.
        if (isinstance(error, jax.errors.JaxRuntimeError) and not full) or "Gloo" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def wait_for_lost_process() -> None:
    """Waits after a collective failure until JAX names the lost process and ends this one.

    JAX gives numbers only; the message here adds the hosts.
    """
    everyone = ", ".join(map(_who, range(jax.process_count())))
    print(
        f"error: {_who(jax.process_index())} lost contact with another of {everyone}; JAX names it "
        f"within {_heartbeat_seconds} s. Start all again to resume from the last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    time.sleep(_heartbeat_seconds + _GRACE_SECONDS)


def leave(status: int) -> NoReturn:
    """Ends this process at once; JAX would wait for the other processes at exit, forever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _who(index: int) -> str:
    return f"process {index}" + (f" ({_hosts[index]})" if index < len(_hosts) else "")


def in_one_line(error: Exception) -> str:
    """Returns at most 300 characters of the message, on one line."""
    return " ".join(str(error).split())[:300]
