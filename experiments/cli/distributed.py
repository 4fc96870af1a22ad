"""Several processes of one run: how they meet, agree on what they run, and end together.

Nothing here is done by a process that runs alone.
"""

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
from absl import flags

from perceiver.training.multiprocess import exchange

_ADDRESS = ("coordinator", "num_processes", "process_id")
FLAGS = ("distributed", *_ADDRESS, "meeting_seconds", "heartbeat_seconds")
_CODE = ("perceiver", "experiments")
_GRACE_SECONDS = 20
_hosts: list[str] = []  # of each process, once they have met


class ProcessesError(Exception):
    """Flags that do not belong together, or processes that do not run the same: wrong input."""


class MeetingError(Exception):
    """The processes of a run could not meet; it may go well the next time."""


def define_flags() -> None:
    """The flags that say how processes find each other."""
    flags.DEFINE_enum(
        "distributed",
        "auto",
        ("auto", "cluster", "alone"),
        "auto: the processes of a SLURM step or a TPU pod where the environment shows one; "
        "cluster: whatever JAX finds, or an error; alone: this process only",
    )
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, to meet by address")
    flags.DEFINE_integer("num_processes", None, "how many processes meet at --coordinator")
    flags.DEFINE_integer("process_id", None, "which of them this is, from 0")
    flags.DEFINE_integer(
        "meeting_seconds", 300, "how long to wait for the others to start", lower_bound=5
    )
    flags.DEFINE_integer(
        "heartbeat_seconds", 100, "silence after which a process is taken for gone", lower_bound=5
    )


def connect() -> None:
    """Meets the other processes, before anything touches a device.

    Raises:
      ProcessesError: flags that do not belong together.
      MeetingError: the others can't be reached; a run of many processes must not go on as many runs
        of one.
    """
    values = {name: flags.FLAGS[name].value for name in FLAGS}
    address = [values[name] for name in _ADDRESS]
    by_address = any(value is not None for value in address)
    if by_address:
        _check_address(*address)
    elif values["distributed"] == "alone" or (
        values["distributed"] == "auto" and not (expected := _processes_of_environment())
    ):
        return
    if by_address and address[2] > 0:
        _wait_for(address[0], values["meeting_seconds"])
    # JAX would take SIGTERM for itself, which `perceiver.training.stopping` answers.
    jax.config.update("jax_enable_preemption_service", False)
    traced = faulthandler.is_enabled()
    faulthandler.disable()  # JAX aborts, with the reason, where others stay away: no crash
    try:
        jax.distributed.initialize(
            *address,
            heartbeat_timeout_seconds=values["heartbeat_seconds"],
            initialization_timeout=values["meeting_seconds"],
        )
    except (RuntimeError, ValueError, OSError) as error:
        how = f"at --coordinator={address[0]}" if by_address else "of this cluster"
        raise MeetingError(
            f"can't meet the other processes {how}: {in_a_line(error)}; start all of them within "
            f"{values['meeting_seconds']} s, or take --distributed=alone for one by itself"
        ) from error
    if traced:
        faulthandler.enable()
    wanted = address[1] if by_address else values["distributed"] == "auto" and expected
    if wanted and jax.process_count() != wanted:
        raise MeetingError(
            f"{wanted} processes were started and JAX has {jax.process_count()}; look at "
            "JAX_PLATFORMS and at what this host can see of its devices"
        )


def _check_address(coordinator: str | None, count: int | None, index: int | None) -> None:
    given = dict(zip(_ADDRESS, (coordinator, count, index), strict=True))
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise ProcessesError(
            f"--{missing[0]} is missing; --coordinator, --num_processes and --process_id "
            "go together"
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ProcessesError(f"--coordinator={coordinator} is not HOST:PORT, such as 10.0.0.2:8476")
    if not 0 <= index < count:
        raise ProcessesError(f"--process_id={index} of --num_processes={count}; count from 0")


def _wait_for(coordinator: str, seconds: int) -> None:
    """Waits until process 0 listens; JAX would end the process without a word of its address."""
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
                    f"{in_a_line(error)}; start process 0 there, and see that this host reaches it"
                ) from error
        time.sleep(0.5)


def _processes_of_environment() -> int:
    """How many processes the environment of a cluster speaks of, 0 where it speaks of none."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "")  # of srun; sbatch's own shell has none
    workers = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    count = int(tasks) if tasks.isdecimal() else len(workers)
    return count if count > 1 else 0


def agree(config: dict[str, Any]) -> None:
    """Refuses to start where the processes run different configs, code, libraries or devices.

    Args:
      config: values by key.

    Raises:
      ProcessesError: in all processes, naming the first difference and who has it.
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
    """Refuses processes of unequal devices, which could not even tell each other so."""
    of_each = [
        Counter(device.device_kind for device in jax.devices() if device.process_index == index)
        for index in range(jax.process_count())
    ]
    for index, devices in enumerate(of_each):
        if devices != of_each[0]:
            had = [", ".join(f"{n} x {kind}" for kind, n in of_each[i].items()) for i in (index, 0)]
            raise ProcessesError(
                f"{_who(index)} has {had[0]} and {_who(0)} has {had[1]}; "
                "give all processes the same devices"
            )


def code_version() -> str:
    """SHA-256 over the project's Python files; a revision would not tell of changes to them."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for file in sorted(file for folder in _CODE for file in (root / folder).rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def is_of_all(error: BaseException | None) -> bool:
    """Whether this failed, or followed from what failed, in what all processes do together."""
    while error:
        full = str(error).startswith("RESOURCE_EXHAUSTED")  # this process's own memory
        # Between CPUs it is Gloo that fails, with a ValueError.
        if (isinstance(error, jax.errors.JaxRuntimeError) and not full) or "Gloo" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def name_the_gone() -> None:
    """Waits, after a failure in what all processes do together, until JAX says who is gone.

    It ends this process then, naming the others by number; here is who they are.
    """
    everyone = ", ".join(map(_who, range(jax.process_count())))
    seconds = flags.FLAGS.heartbeat_seconds
    print(
        f"error: {_who(jax.process_index())} lost touch with others of {everyone}; within "
        f"{seconds} s it shows who is gone. Start all again to go on from the last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    time.sleep(seconds + _GRACE_SECONDS)


def leave(status: int) -> NoReturn:
    """Ends this process at once; waiting for the others, as JAX does at exit, would be for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _who(index: int) -> str:
    return f"process {index}" + (f" ({_hosts[index]})" if index < len(_hosts) else "")


def in_a_line(error: Exception) -> str:
    """Its message, not too long."""
    return " ".join(str(error).split())[:300]
