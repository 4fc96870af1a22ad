"""Signals sent to a real process."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import time
from perceiver.training.stopping import StopRequest

with StopRequest() as stop:
    print("listening", flush=True)
    while not stop.requested:
        time.sleep(0.01)
    print(stop.requested, flush=True)
    time.sleep(60)
"""


def listening():
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "listening\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_first_signal_requests_a_stop_and_second_ends_the_process(number):
    process = listening()
    process.send_signal(number)
    assert process.stdout.readline() == f"{signal.Signals(number).name}\n"
    process.send_signal(number)  # like a launcher that signals the process and its group
    time.sleep(0.6)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM
    first, second = err.splitlines()
    asked = signal.Signals(number).name
    assert first == f"{asked}: saving after this step; once more to end at once"
    assert second == "a second signal, SIGTERM: ending at once"
