"""The programs as real processes that start fast: forks of a process with all imports.

A start of Python with JAX and TensorFlow takes seconds, an error message milliseconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Only imports may run here: threads of JAX and TensorFlow would not survive a fork.
_PROGRAM = """
import gc, json, os, runpy, sys

import experiments.evaluate, experiments.model_table, experiments.show_data
import experiments.simple_models, experiments.train, perceiver.data.registry

gc.freeze()  # otherwise a fork spends seconds on garbage collection at its end
for line in sys.stdin:
    main, arguments, user, out, err = json.loads(line)
    sys.stdout.flush()
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    sys.argv = [main, *arguments]
    sys.modules.pop(f"experiments.{main}", None)
    runpy.run_module(f"experiments.{main}", run_name="__main__", alter_sys=True)
    sys.exit()
"""


class Mains:
    """Runs programs of `experiments` in separate processes, on CPU devices."""

    def __init__(self, folder: Path, devices: int):
        """Starts the process to fork, with an empty folder for output and a number of devices."""
        self._folder = folder
        environment = os.environ | {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "JAX_PLATFORMS": "cpu",
            "JAX_LOG_COMPILES": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, main: str, *arguments: str, user: int | None = None) -> tuple[int, str, str]:
        """Runs a program to its end, as another user if one is given.

        Returns:
          The exit status, stdout and stderr.
        """
        out, err = self._folder / "out", self._folder / "err"
        request = json.dumps([main, arguments, user, str(out), str(err)])
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return status, out.read_text(), err.read_text()

    def refusal(self, main: str, *arguments: str, user: int | None = None) -> str:
        """Runs a program that must refuse its input, and returns the error message.

        Checks that the status is 2, that the message is the last line and the only error, and that
        no network was compiled.
        """
        status, out, err = self(main, *arguments, user=user)
        assert status == 2, f"status {status}\n{out}\n{err[-3000:]}"
        (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
        assert err.strip().splitlines()[-1] == line
        assert "Traceback" not in err
        compiled = [x for x in err.splitlines() if "Compiling " in x]
        # Seeds compile programs of one integer; a network and its step have other inputs.
        assert all("(ShapedArray(int32[]),)" in x for x in compiled)
        return line

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
