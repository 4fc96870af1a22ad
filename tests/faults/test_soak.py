"""A long run of a tiny network with logs, saves and evaluations: its resources must not grow."""

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from tests.processes import TINY, start

STEPS = 20_000


def resources(pid):
    """Returns a process's resident memory in MB, open files and threads."""
    status = Path(f"/proc/{pid}/status").read_text()
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return int(values["VmRSS"].split()[0]) / 1024, files, int(values["Threads"])


def newest_step(log):
    """Returns the step of the last complete line, 0 without one; reads only the end of the log."""
    if not log.exists():
        return 0
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        lines = file.read().split(b"\n")[:-1]
    return json.loads(lines[-1])["step"] if lines else 0


def seconds(clock):
    """Converts '1:02:03' or '2:03' to seconds."""
    return sum(int(part) * 60**i for i, part in enumerate(reversed(clock.split(":"))))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_20000_steps_use_no_more_resources_at_the_end(tmp_path):
    workdir, output = tmp_path / "run", tmp_path / "output"
    with output.open("w") as file:
        process = start(
            "train",
            *TINY,
            f"--workdir={workdir}",
            f"--config.train.steps={STEPS}",
            "--config.train.log_every=20",
            "--config.train.checkpoint_every=200",
            "--config.train.eval_every=1000",
            optimised=True,
            stdout=file,
            stderr=file,
        )
    samples = []  # (step, time, memory, files, threads)
    while process.poll() is None:
        step = newest_step(workdir / "metrics.jsonl")
        try:
            samples.append((step, time.monotonic(), *resources(process.pid)))
        except (FileNotFoundError, KeyError):  # it has just ended
            break
        time.sleep(0.25)
    assert process.wait() == 0, output.read_text()[-2000:]
    ended = time.monotonic()

    step, clock, *used = np.array(samples).T
    begin, end = (step > 2000) & (step <= 5000), (step > STEPS - 3000) & (step < STEPS)
    # Medians, because saves and evaluations briefly take memory, files and threads.
    figures = {
        name: [float(np.median(x[part])) for part in (begin, end)]
        for name, x in zip(("memory MB", "files", "threads"), used, strict=True)
    }
    figures["ms a step"] = [
        1e3 * float(np.ptp(clock[part]) / np.ptp(step[part])) for part in (begin, end)
    ]
    # The remaining time: the estimate at half the steps, and the actual value.
    half = STEPS // 2
    left = re.search(rf"step {half}/{STEPS} .*  (\S+) left", output.read_text())
    figures["left"] = [seconds(left[1]), float(ended - clock[np.searchsorted(step, half)])]
    print(figures)
    for name, allowed in {
        "memory MB": 1.05,
        "files": 1.1,
        "threads": 1.1,
        "ms a step": 1.2,
    }.items():
        before, after = figures[name]
        assert after <= allowed * before, (name, figures)
    assert figures["left"][0] == pytest.approx(figures["left"][1], rel=0.2), figures
