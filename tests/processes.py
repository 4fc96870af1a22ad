"""Starts the project's programs as real processes, with networks that train in seconds.

Starting Python with JAX and TensorFlow takes 5 to 8 seconds. `start` therefore forks a process that
has imported them ("a fork"). If a test sets environment variables, a working directory or another
option of Popen, or passes fresh=True, `start` starts a new Python ("a fresh process"). Both are
real processes with a process ID, signals and an exit status.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from perceiver.training.logging.metrics import read_metrics

ROOT = Path(__file__).parents[1]

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

_started: list["subprocess.Popen | Fork"] = []


class Fork:
    """A forked process with the part of Popen's interface that tests use.

    Attributes:
      pid: Process ID.
      returncode: Exit status, negative for a signal; None until the end of the process is known.
      stdout: Text stream of the standard output.
      stderr: Text stream of the standard error.
    """

    def __init__(self, request: Mapping[str, object]):
        """Starts the process; `_become` describes the request."""
        self.returncode = None
        self._report, report = os.pipe()
        out, out_written = os.pipe()
        err, err_written = os.pipe()
        descriptors = [report, out_written, err_written]
        socket.send_fds(_server(), [json.dumps(request).encode() + b"\n"], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)
        self.pid = int(self._reported())

    def _reported(self) -> str:
        """Returns the next line from the process that watches the fork."""
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._report, 1)
            assert byte, "the fork server has ended"
            line += byte
        return line.decode()

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end of the process; returns its exit status."""
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout)
            self.returncode = int(self._reported())
            os.close(self._report)
        return self.returncode

    def poll(self) -> int | None:
        """Returns the exit status, or None while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for the end of the process; returns its remaining stdout and stderr."""
        deadline = None if timeout is None else time.monotonic() + timeout
        printed = ["", ""]

        def read(i: int, stream) -> None:
            with stream:
                printed[i] = stream.read()

        streams = (self.stdout, self.stderr)
        readers = [threading.Thread(target=read, args=x, daemon=True) for x in enumerate(streams)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if deadline is None else max(deadline - time.monotonic(), 0))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout)
        self.wait(None if deadline is None else max(deadline - time.monotonic(), 0))
        return printed[0], printed[1]

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _read_at_start() -> dict[str, str]:
    """Returns the environment variables that Python and the linker read when a process starts."""
    return {k: v for k, v in os.environ.items() if k.startswith(("PYTHON", "LD_"))}


_control: socket.socket | None = None
_FORK_VARIABLES = _read_at_start()


def _server() -> socket.socket:
    """Returns the socket of the fork server, which the first call starts."""
    global _control
    if _control is None:
        _control, server_end = socket.socketpair()
        with server_end:
            subprocess.Popen(
                [sys.executable, "-c", "from tests.processes import _serve; _serve()"],
                cwd=ROOT,
                env=os.environ | {"JAX_PLATFORMS": "cpu"},
                stdin=server_end,
                stdout=subprocess.DEVNULL,
            )
    return _control


def _serve() -> NoReturn:
    """Runs the fork server: imports the programs' modules, then forks for each request from stdin.

    A request is a line of JSON with three file descriptors: one for the process ID and the exit
    status, one for stdout and one for stderr. The server ends when its client ends.
    """
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["-m"]  # like Python while it looks for the program
    # Only imports: threads of JAX and TensorFlow would not survive a fork.
    import tensorflow_datasets  # noqa: F401

    import experiments.evaluate
    import experiments.export
    import experiments.predict
    import experiments.prepare_data
    import experiments.train  # noqa: F401
    import perceiver.data.digits
    import perceiver.data.registry  # noqa: F401

    gc.freeze()  # otherwise the exit of a fork visits every object, which takes seconds
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        line, descriptors, _, _ = socket.recv_fds(control, 65536, 3)
        while line and not line.endswith(b"\n"):
            line += control.recv(65536)
        if not line:
            sys.exit()
        if os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        control.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        report, *streams = descriptors
        child = os.fork()
        if not child:
            _become(json.loads(line), report, streams)
        for stream in streams:
            os.close(stream)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(report, f"{status}\n".encode())
        os._exit(0)


def _become(request: dict, report: int, streams: Sequence[int]) -> NoReturn:
    """Runs a program in this process, and ends it.

    Args:
      request: Values of "program", the name of a module in `experiments`; "arguments", its command
        line; "environment", all variables; "jax", JAX's options by name; "session", True for a new
        session; and "user", a user ID to change to, or None.
      report: File descriptor for the process ID.
      streams: File descriptors of stdout and stderr.
    """
    if request["session"]:
        os.setsid()
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
        os.close(stream)
    # The streams of the forked process remember whether its own files can seek.
    sys.stdout = os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1)
    os.write(report, f"{os.getpid()}\n".encode())
    os.close(report)
    os.environ.clear()
    os.environ.update(request["environment"])
    import jax

    for name, value in request["jax"].items():
        jax.config.update(name, value)
    if request["user"] is not None:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    module = f"experiments.{request['program']}"
    sys.argv = [module, *request["arguments"]]
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit()


def start(
    program: str,
    *arguments: str,
    devices: int = 1,
    environment: Mapping[str, str] | None = None,
    fresh: bool = False,
    optimised: bool = False,
    log_compiles: bool = False,
    user: int | None = None,
    start_new_session: bool = False,
    **options,
) -> "subprocess.Popen | Fork":
    """Starts `python -m experiments.PROGRAM`.

    Args:
      program: Name of the program.
      arguments: Command line of the program.
      devices: Number of CPU devices.
      environment: Variables in addition to those of this process. They require a fresh process.
      fresh: True for a fresh process.
      optimised: True for XLA's optimisations, which take longer than a short run.
      log_compiles: True if JAX prints the name of each function that it compiles; only in a fork.
      user: ID of the user that runs the process; only in a fork.
      start_new_session: True if the process leads a new session and process group.
      options: Other arguments of Popen. They require a fresh process.
    """
    variables = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        **(environment or {}),
    }
    jax_options = {"jax_disable_most_optimizations": not optimised}
    if any(argument.startswith("--coordinator") for argument in arguments):
        # On a busy machine a process may be late by more than the default of 30 s.
        variables["XLA_FLAGS"] += " --xla_cpu_collective_timeout_seconds=200"
    elif "PERCEIVER_TEST_COMPILED" in os.environ and not log_compiles:
        # Not for several processes: while one compiles, the others would wait.
        jax_options |= {
            "jax_compilation_cache_dir": os.environ["PERCEIVER_TEST_COMPILED"],
            "jax_persistent_cache_min_compile_time_secs": 0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }
    if fresh or environment or options or _read_at_start() != _FORK_VARIABLES:
        assert user is None, "only a fork can run as another user"
        variables |= {name.upper(): str(value) for name, value in jax_options.items()}
        process = start_python(
            "-m",
            f"experiments.{program}",
            *arguments,
            environment=variables,
            start_new_session=start_new_session,
            **options,
        )
    else:
        process = Fork(
            {
                "program": program,
                "arguments": [str(argument) for argument in arguments],
                "environment": variables,
                "jax": jax_options | {"jax_log_compiles": log_compiles},
                "session": start_new_session,
                "user": user,
            }
        )
        _started.append(process)
    return process


def start_python(
    *arguments: str, environment: Mapping[str, str] | None = None, **options
) -> subprocess.Popen:
    """Starts a fresh Python with these arguments; `options` are arguments of Popen."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=os.environ | dict(environment or {}),
        **(dict(cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) | options),
    )
    _started.append(process)
    return process


def kill_all() -> None:
    """Kills the processes that a failed test has left running."""
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    _started.clear()


def finish(
    process: "subprocess.Popen | Fork", status: int = 0, timeout: float = 300
) -> tuple[str, str]:
    """Waits for a process, checks its exit status, and returns stdout and stderr."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == status, f"status {process.returncode}\n{out}\n{err[-3000:]}"
    return out, err


def run(
    program: str, *arguments: str, status: int = 0, timeout: float = 300, **options
) -> tuple[str, str]:
    """Runs a program to its end, see `start` and `finish`."""
    return finish(start(program, *arguments, **options), status, timeout)


def refusal(program: str, *arguments: str, **options) -> str:
    """Runs a program that must end with a user error; returns the line with the error.

    Checks that the status is 2, that the last line is the only error, and that no network was
    compiled.
    """
    _, err = run(program, *arguments, status=2, log_compiles=True, **options)
    (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
    assert err.strip().splitlines()[-1] == line
    assert "Traceback" not in err
    compiled = [x for x in err.splitlines() if "Compiling " in x]
    # Small functions of one integer, for seeds, may be compiled; networks may not.
    assert all("(ShapedArray(int32[]),)" in x for x in compiled)
    return line


def exit_status(program: ModuleType, arguments: Sequence[str]) -> int:
    """Runs a program in this process; returns its exit status."""
    from experiments.cli.main import call  # not at the top: `_serve` sets sys.argv before it

    try:
        return call(program.main, program.parser(), arguments)
    except SystemExit as end:
        return end.code


def wait_for(condition: Callable[[], object], process=None, seconds: float = 120) -> None:
    """Waits until a condition is true; the process, if descriptors, must run until then."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def logged(workdir: Path) -> int:
    """Returns the newest step in the log of a run, 0 without a log."""
    if not (workdir / "metrics.jsonl").exists():
        return 0
    return max((record["step"] for record in read_metrics(workdir)), default=0)


def wait_for_step(workdir: Path, step: int, process: "subprocess.Popen | Fork") -> None:
    """Waits until a run has logged a step; its process must run until then."""
    wait_for(lambda: logged(workdir) >= step, process)
