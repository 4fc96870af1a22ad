"""Runs launch/slurm.sbatch like SLURM: a copy in another folder, with a stand-in for srun."""

import os
import shlex
import shutil
import signal
import subprocess
import time

import pytest

from tests.launch import stand_ins
from tests.launch.stand_ins import calls
from tests.processes import ROOT

AWKWARD = ["two words", "'", '"', "$HOME", "`id`", "*", "; touch taken", "", "-n", "--", "a=b c"]
REQUEUED = [["requeue", "41"]]


class Job:
    """A job in a checkout with a stand-in for its Python."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = stand_ins.install(folder) | {"SLURM_JOB_ID": "41"}
        self.checkout = folder / "my checkout"
        for folder_name in ("experiments", "perceiver", ".venv/bin"):
            (self.checkout / folder_name).mkdir(parents=True)
        python = self.checkout / ".venv/bin/python"
        python.symlink_to(folder / "programs/python-of-checkout")
        self.script = folder / "slurm_script"
        shutil.copy(ROOT / "launch" / "slurm.sbatch", self.script)

    def ends(self, *lines):
        (self.folder / "ends").write_text("\n".join(lines))

    def start(self, *arguments, cwd=None, **environment):
        return subprocess.Popen(
            ["bash", self.script, *arguments],
            cwd=cwd or self.checkout,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, **options):
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def run_with_signals(self, *numbers):
        """Sends signals to a job while it trains; returns its status, stdout and stderr."""
        self.ends("wait")
        process = self.start("--workdir=/w")
        deadline = time.monotonic() + 30
        while len(calls(self.folder, "python-of-checkout")) < 2 or not self.waiting():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)  # until the second process handles signals too
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.05)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def waiting(self):
        return (self.folder / "waiting").exists()


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def test_every_process_gets_the_arguments_unchanged(job):
    status, _, err = job.run(*AWKWARD)
    assert status == 0, err
    expected = ["-m", "experiments.train", *AWKWARD]
    assert calls(job.folder, "python-of-checkout") == [expected, expected]
    assert not calls(job.folder, "scontrol")
    assert not (job.checkout / "taken").exists()


def test_the_time_limits_signal_saves_and_requeues(job):
    status, out, err = job.run_with_signals(signal.SIGUSR1)
    assert status == 75, err
    assert calls(job.folder, "signals") == [["SIGUSR1"]] * 2
    assert calls(job.folder, "scontrol") == REQUEUED
    assert "job 41 goes back into the queue" in out


def test_a_second_signal_is_not_passed_on(job):
    status, _, err = job.run_with_signals(signal.SIGUSR1, signal.SIGUSR1)
    assert status == 75, err
    assert calls(job.folder, "signals") == [["SIGUSR1"]] * 2


def test_sigterm_saves_without_a_requeue(job):
    """Training receives SIGUSR1 instead, because srun kills at SIGTERM."""
    status, _, err = job.run_with_signals(signal.SIGTERM)
    assert status == 75, err
    assert calls(job.folder, "signals") == [["SIGUSR1"]] * 2
    assert not calls(job.folder, "scontrol")


def test_training_stopped_by_slurm_itself_is_requeued(job):
    """Preemption sends the signal to the processes and not to the script."""
    job.ends("75")
    assert job.run()[0] == 75
    assert calls(job.folder, "scontrol") == REQUEUED


@pytest.mark.parametrize("status", [0, 1, 2, 137])
def test_other_statuses_are_not_requeued(job, status):
    job.ends(str(status))
    assert job.run()[0] == status
    assert not calls(job.folder, "scontrol")


def test_a_failed_requeue_is_reported(job):
    job.ends("75")
    (job.folder / "scontrol").write_text("1")
    status, _, err = job.run()
    assert status == 75
    (line,) = err.splitlines()
    assert "job 41 is saved but was not requeued" in line


@pytest.mark.parametrize(
    ("allocated", "passed_on"),
    [
        ({"SLURM_GPUS_ON_NODE": "8"}, ["JAX_LOCAL_DEVICE_IDS=0,1,2,3,4,5,6,7"]),
        ({"SLURM_GPUS_ON_NODE": "8", "SLURM_NTASKS_PER_NODE": "8"}, []),
        ({"SLURM_GPUS_ON_NODE": "1"}, []),
        ({"SLURM_CPUS_PER_TASK": "64"}, ["SRUN_CPUS_PER_TASK=64"]),
    ],
)
def test_a_process_gets_all_gpus_and_cpus_of_its_machine(job, allocated, passed_on):
    """Without JAX_LOCAL_DEVICE_IDS, JAX under SLURM uses only the GPU number SLURM_LOCALID."""
    assert job.run(**allocated)[0] == 0
    assert calls(job.folder, "environment") == [passed_on]


def test_a_dry_run_prints_the_command_and_runs_nothing(job):
    status, out, _ = job.run(*AWKWARD, DRY_RUN="1", SLURM_JOB_ID="")
    assert status == 0
    assert not calls(job.folder, "srun")
    *srun, python, module, main = shlex.split(out)[: -len(AWKWARD)]
    assert srun[0] == "srun"
    assert (python, module, main) == (".venv/bin/python", "-m", "experiments.train")
    assert shlex.split(out)[-len(AWKWARD) :] == AWKWARD
    subprocess.run(["bash", "-c", out], cwd=job.checkout, env=job.environment, check=True)
    assert calls(job.folder, "python-of-checkout")[0][2:] == AWKWARD


def mistakes(job):
    no_environment = job.folder / "other"
    for package in ("experiments", "perceiver"):
        (no_environment / package).mkdir(parents=True)
    return {
        "elsewhere": ({"cwd": job.folder}, "--chdir=CHECKOUT"),
        "no environment": ({"cwd": no_environment}, "make env"),
        "without sbatch": ({"SLURM_JOB_ID": ""}, "start it with sbatch"),
    }


@pytest.mark.parametrize("name", ["elsewhere", "no environment", "without sbatch"])
def test_a_user_error_is_one_line(job, name):
    options, message = mistakes(job)[name]
    status, out, err = job.run(**options)
    assert status == 2
    (line,) = err.splitlines()
    assert line.startswith("launch/slurm.sbatch: ")
    assert message in line
    assert not out
    assert not calls(job.folder, "srun")


def test_sbatch_options():
    """Only the script gets the signal, because it requests the requeue."""
    lines = (ROOT / "launch" / "slurm.sbatch").read_text().splitlines()
    options = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")}
    assert {"--signal=B:USR1@120", "--requeue", "--open-mode=append"} <= options
    assert "--ntasks-per-node=1" in options
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])
    assert os.access(ROOT / "launch" / "slurm.sbatch", os.X_OK)
