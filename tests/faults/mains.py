"""The mains as real processes that start at once: copies of one that has imported everything.

A start of Python with JAX and TensorFlow takes seconds, and a refusal a moment.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Nothing may be run here beyond imports: threads of JAX and TensorFlow would not survive a copy.
_PROGRAM = """
import gc, json, os, runpy, sys

import experiments.evaluate, experiments.model_table, experiments.show_data
import experiments.simple_models, experiments.train, perceiver.data.registry

gc.freeze()  # or a copy that ends goes through all of it, for seconds
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
    """Runs mains of `experiments`, each in a process of its own, on CPU devices."""

    def __init__(self, folder: Path, devices: int):
        """Takes an empty folder for what is printed, and how many devices JAX has."""
        self._folder = folder
        environment = os.environ | {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "JAX_PLATFORMS": "cpu",
            "JAX_LOG_COMPILES": "1",
        }
        self._copied = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, main: str, *arguments: str, user: int | None = None) -> tuple[int, str, str]:
        """Runs a main to its end, as another user if one is given.

        Returns:
          Its exit status, and what it printed to stdout and stderr.
        """
        out, err = self._folder / "out", self._folder / "err"
        request = json.dumps([main, arguments, user, str(out), str(err)])
        self._copied.stdin.write(f"{request}\n")
        self._copied.stdin.flush()
        status = int(self._copied.stdout.readline())
        return status, out.read_text(), err.read_text()

    def refusal(self, main: str, *arguments: str, user: int | None = None) -> str:
        """Runs a main that must end in a user's mistake, and returns the line that says which.

        The status is 2, the line the last, nothing else an error, and no network was compiled.
        """
        status, out, err = self(main, *arguments, user=user)
        assert status == 2, f"status {status}\n{out}\n{err[-3000:]}"
        (line,) = [x for x in err.splitlines() if x.startswith("error: ")]
        assert err.strip().splitlines()[-1] == line
        assert "Traceback" not in err
        compiled = [x for x in err.splitlines() if "Compiling " in x]
        # Seeds and the like are made of one number; a network and its step are not.
        assert all("(ShapedArray(int32[]),)" in x for x in compiled)
        return line

    def close(self) -> None:
        """Ends the process that is copied."""
        self._copied.stdin.close()
        self._copied.wait()
        self._copied.stdout.close()
