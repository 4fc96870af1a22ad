"""Runs launch/tpu_worker.sh, the loop that restarts training, with a stand-in for Python."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.launch import stand_ins
from tests.launch.stand_ins import calls
from tests.processes import ROOT


class Worker:
    """A worker's home folder with a checkout in it."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = stand_ins.install(folder)
        self.script = folder / "perceiver-jax/launch/tpu_worker.sh"
        self.script.parent.mkdir(parents=True)
        shutil.copy(ROOT / "launch" / "tpu_worker.sh", self.script)
        python = folder / "perceiver-jax/.venv/bin/python"
        python.parent.mkdir(parents=True)
        python.symlink_to(folder / "programs/python-of-checkout")
        self.flags = [f"--workdir={folder}/runs/a b", "--x=1"]

    def run(self, *arguments, status=0):
        done = subprocess.run(
            ["bash", self.script, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout, done.stderr

    def ends(self, *lines):
        (self.folder / "ends").write_text("\n".join(lines))

    def status(self):
        return self.run("status")[0].removeprefix("perceiver-train: ").strip()

    def final_status(self):
        """Returns the status once nothing runs."""
        self.until(lambda: self.status() != "running")
        return self.status()

    def until(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, (self.folder / "perceiver-train/log").read_text()
            time.sleep(0.02)

    def starts(self):
        return [argv[2:] for argv in calls(self.folder, "python-of-checkout")]

    def group(self):
        return int((self.folder / "perceiver-train" / "pid").read_text())


@pytest.fixture
def worker(tmp_path):
    yield Worker(tmp_path)
    stand_ins.end_all([], tmp_path)


@pytest.mark.parametrize(
    ("ends", "starts", "status"),
    [
        (["0"], 1, "done"),
        (["2"], 1, "failed 2"),
        (["75", "137", "1", "0"], 4, "done"),  # saved; killed for memory; failed; done
        (["75"] * 7 + ["0"], 8, "done"),  # stops do not count as crashes
        (["75", "2"], 2, "failed 2"),
        (["137"], 5, "failed 137"),  # every time at the same checkpoint
        (
            ["10:1", "1", "1", "1", "20:1", "1", "1", "1", "30:1", "0"],
            10,
            "done",
        ),  # with progress between crashes
    ],
)
def test_training_is_started_again_until_it_is_done(worker, ends, starts, status):
    worker.ends(*ends)
    worker.run("start", *worker.flags)
    assert worker.final_status() == status
    assert worker.starts() == [worker.flags] * starts
    log = (worker.folder / "perceiver-train" / "log").read_text()
    assert log.count("ended with status") == starts


def test_a_new_worker_is_idle(worker):
    assert worker.status() == "idle"
    assert "nothing is running" in worker.run("stop")[0]
    worker.run("idle")


class TestWhileTraining:
    @pytest.fixture(autouse=True)
    def training(self, worker):
        worker.ends("wait")
        worker.run("start", *worker.flags)
        worker.until((worker.folder / "waiting").exists)

    def test_a_repeated_start_has_no_effect(self, worker):
        out, _ = worker.run("start", *worker.flags)
        assert "already trains this" in out
        assert len(worker.starts()) == 1

    def test_another_run_and_a_setup_are_refused(self, worker):
        _, err = worker.run("start", "--workdir=/other", status=2)
        assert err.count("\n") == 1
        assert "already trains, with --workdir=" in err
        assert "stop it first" in worker.run("idle", status=2)[1]
        assert worker.status() == "running"

    def test_a_shutdown_of_the_machine_saves_and_ends_training(self, worker):
        """Training gets the signal once, saves, and is not started again."""
        os.killpg(worker.group(), signal.SIGTERM)
        assert worker.final_status() == "interrupted"
        assert calls(worker.folder, "signals") == [["SIGTERM"]]
        assert len(worker.starts()) == 1

    def test_training_can_be_started_again_after_kill_9(self, worker):
        """The kernel releases the lock of killed processes."""
        os.killpg(worker.group(), signal.SIGKILL)
        assert worker.final_status() == "idle"
        worker.ends("0")
        worker.run("start", *worker.flags)
        assert worker.final_status() == "done"

    def test_stop_waits_for_the_end_of_training(self, worker):
        out, _ = worker.run("stop")
        assert "has stopped: status 75" in out
        assert worker.status() == "stopped"
        assert len(worker.starts()) == 1


def test_a_missing_environment_is_an_error(worker):
    (worker.folder / "perceiver-jax/.venv/bin/python").unlink()
    _, err = worker.run("start", *worker.flags, status=2)
    assert err.count("\n") == 1
    assert "run setup first" in err


def test_an_unknown_command_is_an_error(worker):
    _, err = worker.run("begin", status=2)
    assert "'begin' is no command" in err
    assert err.count("\n") == 1
