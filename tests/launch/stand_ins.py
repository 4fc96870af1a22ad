"""Stand-ins for gcloud, srun, scontrol and the Python of a checkout, put first on PATH by tests.

Each logs its arguments in $STAND_INS/calls.jsonl and then behaves as the launch scripts expect: a
pod is a folder with home folders of workers, and ssh is a bash in one of them. The first argument
of this program selects the stand-in.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("STAND_INS", os.devnull))
NAMES = ("gcloud", "srun", "scontrol", "python3.11")


def install(folder: Path) -> dict[str, str]:
    """Writes the programs into a folder; returns environment variables to find them."""
    programs = folder / "programs"
    programs.mkdir(parents=True)
    for name in (*NAMES, "python-of-checkout"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{__file__}" {name} "$@"\n')
        program.chmod(0o755)
    path = f"{programs}:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(folder), "STAND_INS": str(folder), "RESTART_PAUSE": "0.1"}


def calls(folder: Path, name: str) -> list[list[str]]:
    """Returns the arguments of each call of a program so far."""
    file = folder / "calls.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [argv for called, argv in map(json.loads, lines) if called == name]


def end_all(processes: list[subprocess.Popen], folder: Path) -> None:
    """Kills the processes of a test, each with its session, and the training of workers."""
    groups = [process.pid for process in processes if process.poll() is None]
    for lock in folder.rglob("perceiver-train/lock"):
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                groups.append(int((lock.parent / "pid").read_text()))
    for group in groups:
        os.killpg(group, signal.SIGKILL)
    for process in processes:
        process.wait()


def next_line(file: Path, default: str) -> str:
    """Removes and returns the first line of a file; the last line is not removed."""
    try:
        lock = file.open("r+")
    except FileNotFoundError:
        return default
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first, *rest = lock.read().splitlines()
        if rest:
            lock.seek(0)
            lock.truncate()
            lock.write("\n".join(rest))
    return first


def gcloud(argv: list[str]) -> int:
    """Acts as gcloud with a pod of two workers; each query returns the next line of `states`."""
    *_, kind, verb = argv[:4]
    plain = [word for word in argv[4:] if not word.startswith("--")]
    flags = dict(word.split("=", 1) for word in argv[4:] if word.startswith("--") and "=" in word)
    states, workers = FOLDER / "states", [FOLDER / "worker0", FOLDER / "worker1"]
    if (kind, verb) == ("queued-resources", "create"):
        states.write_text(next_line(FOLDER / "comes", "ACTIVE").replace(" ", "\n"))
        for worker in workers:
            worker.mkdir()
    elif verb == "describe":
        if not states.exists():
            print("ERROR: (gcloud...describe) NOT_FOUND: Resource was not found", file=sys.stderr)
            return 1
        print(next_line(states, ""))
    elif verb == "delete":
        states.unlink()
        for worker in workers:
            shutil.rmtree(worker)
    elif verb == "scp":
        for worker in workers:
            shutil.copy(plain[0], worker / plain[1].partition(":")[2])
    elif verb == "ssh":
        targets = workers if flags["--worker"] == "all" else [workers[int(flags["--worker"])]]
        command = " ".join(flags["--command"].split(" "))  # gcloud does the same
        statuses = [
            subprocess.run(
                ["bash", "-c", command], cwd=home, env=os.environ | {"HOME": str(home)}, check=False
            ).returncode
            for home in targets
        ]
        return next(filter(None, statuses), 0)
    return 0


def python_of_checkout(argv: list[str]) -> int:
    """Acts as training; each start takes a line of the file `ends`, and `wait` waits for a signal.

    A number is the exit status; 40:137 also leaves a checkpoint of step 40.
    """
    if argv[:2] != ["-m", "experiments.train"]:
        return 0
    end = next_line(FOLDER / "ends", "0")
    if end == "wait":
        received = []
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda number, _: received.append(number))
        (FOLDER / "waiting").touch()
        deadline = time.monotonic() + 60
        while not received and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)  # a second signal would be received
        log("signals", [signal.Signals(number).name for number in received])
        return 75 if len(received) == 1 else 1
    step, _, status = end.rpartition(":")
    if step:
        workdir = next(word for word in argv if word.startswith("--workdir=")).partition("=")[2]
        (Path(workdir) / "checkpoints" / step).mkdir(parents=True, exist_ok=True)
    return int(status)


def srun(argv: list[str]) -> int:
    """Runs the command in two processes; like srun, passes on SIGUSR1 and kills at SIGTERM."""
    while argv[0].startswith("--"):
        argv = argv[1:]
    tasks = []

    def pass_on(number, _):
        for task in tasks:
            task.send_signal(signal.SIGKILL if number == signal.SIGTERM else number)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, pass_on)
    logged = ("JAX_LOCAL_DEVICE_IDS", "SRUN_CPUS_PER_TASK")
    log("environment", [f"{key}={os.environ[key]}" for key in logged if key in os.environ])
    tasks += [subprocess.Popen(argv) for _ in range(2)]
    return max(status if status >= 0 else 128 - status for status in (t.wait() for t in tasks))


def log(name: str, argv: list[str]) -> None:
    with (FOLDER / "calls.jsonl").open("a") as file:
        file.write(json.dumps([name, argv]) + "\n")


def main(name: str, argv: list[str]) -> int:
    log(name, argv)
    if name == "scontrol":
        return int(next_line(FOLDER / "scontrol", "0"))
    programs = {"gcloud": gcloud, "srun": srun, "python-of-checkout": python_of_checkout}
    with contextlib.suppress(KeyboardInterrupt):
        return programs[name](argv)
    return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
