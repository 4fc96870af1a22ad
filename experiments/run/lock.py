"""A lock that lets one run at a time train in a workdir.

On one machine the kernel holds the lock (flock) and releases it with the process. Between machines
flock is unreliable, so the holder also updates the time stamp of the lock file. A lock of another
machine whose time stamp is a minute old is stale.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TextIO

import jax

from experiments.cli.distributed import ProcessesError
from perceiver import run_files
from perceiver.errors import InputError
from perceiver.training.multiprocess import exchange

_TOUCH_SECONDS = 10.0
STALE_SECONDS = 60.0


class RunLock:
    """A context in which no other run trains in the workdir; entering it returns the workdir.

    Process 0 holds the lock. The other processes read it to check that they use the same folder.
    """

    def __init__(self, workdir: Path):
        """Does not take the lock yet."""
        self._workdir = workdir
        self._path = workdir / run_files.LOCK
        self._file: TextIO | None = None
        self._released = threading.Event()

    def __enter__(self) -> Path:
        """Takes the lock.

        Raises:
          InputError: Another run holds it.
          ProcessesError: The processes use different folders.
        """
        if jax.process_index() == 0:
            self._take()
        if jax.process_count() > 1:
            try:
                self._compare()
            except ProcessesError:
                self._release()
                raise
        return self._workdir

    def __exit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        self._released.set()
        if self._file:
            self._file.truncate(0)  # an empty file is a released lock
            self._file.close()

    def _take(self) -> None:
        file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(file)
            file.close()
            raise InputError(self._refusal(holder or {}, error)) from error
        previous = _holder(file)
        if previous:
            if previous["host"] != socket.gethostname():
                self._wait_until_stale(previous)
            _warn(f"{_describe(previous)} did not end by itself; its lock of {self._path} is stale")
        self._file = file
        file.truncate(0)
        file.write(
            json.dumps(
                {
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "since": datetime.now().astimezone().isoformat(timespec="seconds"),
                }
            )
        )
        file.flush()
        threading.Thread(target=self._keep_alive, daemon=True, name="run lock").start()

    def _wait_until_stale(self, holder: dict) -> None:
        """Waits a minute for the lock to become stale.

        Raises:
          InputError: The holder updated the time stamp meanwhile.
        """
        touched = self._path.stat().st_mtime
        _warn(
            f"{_describe(holder)}, another machine, may be training in {self._workdir}; "
            f"waiting {STALE_SECONDS:.0f} s for a sign of it"
        )
        deadline = time.monotonic() + STALE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.2)
            if self._path.stat().st_mtime != touched:
                raise InputError(self._refusal(holder, None))

    def _refusal(self, holder: dict, error: OSError | None) -> str:
        if error and not isinstance(error, BlockingIOError):
            return f"{self._path} can't be locked: {error.strerror}; take a workdir on another disk"
        return (
            f"--workdir={self._workdir} is in use by {_describe(holder)}; "
            "stop that run first, or take another workdir"
        )

    def _keep_alive(self) -> None:
        while not self._released.wait(_TOUCH_SECONDS):
            with contextlib.suppress(OSError):  # a failing disk is reported by the writers
                os.utime(self._path)

    def _compare(self) -> None:
        """Checks that all processes have the same folder as their workdir."""
        exchange("locked")  # from here on all processes can read the lock
        try:
            contents = self._path.read_text("utf-8")
        except OSError:
            contents = ""
        of_processes = exchange(contents)
        for index, each in enumerate(of_processes):
            if each != of_processes[0]:
                raise ProcessesError(
                    f"--workdir={self._workdir} of process {index} is not that of process 0; "
                    "all need one folder, on storage that they share"
                )


def _holder(file: TextIO) -> dict | None:
    """Returns the holder that a lock file names; None for a released lock."""
    file.seek(0)
    text = file.read()
    if not text:
        return None
    try:
        holder = json.loads(text)
        return {key: holder[key] for key in ("host", "pid", "since")}
    except (ValueError, KeyError, TypeError):  # cut short by a crash
        return {"host": socket.gethostname(), "pid": "?", "since": "?"}


def _describe(holder: dict) -> str:
    if not holder:
        return "another run"
    return f"process {holder['pid']} on {holder['host']}, which began {holder['since']}"


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
