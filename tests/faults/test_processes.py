"""Runs of several processes on this machine, each with 2 devices."""

import json
import shutil
import signal
import socket
import time

import numpy as np
import pytest

from perceiver.data import digits
from perceiver.data.stream.batches import eval_batches, train_iterator
from perceiver.training.logging.metrics import read_metrics
from perceiver.training.stopping import EXIT_STOPPED
from tests.processes import TINY, logged, run, start, wait_for_step

LONG = "--config.train.steps=100000"


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def start_many(count, *arguments, extra=None):
    """Starts the processes of a run; `extra` has additional arguments by process number."""
    port = free_port()
    return [
        start(
            "train",
            *TINY,
            f"--coordinator=localhost:{port}",
            f"--num_processes={count}",
            f"--process_id={index}",
            "--heartbeat_seconds=10",
            *arguments,
            *(extra or {}).get(index, []),
            devices=2,
        )
        for index in range(count)
    ]


def finish_many(processes, *, seconds=300):
    """Waits for all; returns their statuses and what they wrote to stdout and stderr."""
    printed = [process.communicate(timeout=seconds) for process in processes]
    return [process.returncode for process in processes], printed


def losses(workdir):
    return [record["loss"] for record in read_metrics(workdir)]


@pytest.fixture(scope="module")
def eight_devices(tmp_path_factory):
    """The workdir of a run of one process with 8 devices."""
    workdir = tmp_path_factory.mktemp("eight")
    run("train", *TINY, f"--workdir={workdir}", devices=8)
    return workdir


def test_a_signal_to_one_of_two_stops_both_and_one_or_four_resume(eight_devices, tmp_path):
    """The losses equal those of one process with 8 devices, to rounding."""
    by_one, by_four = tmp_path / "one", tmp_path / "four"
    two = start_many(2, f"--workdir={by_one}")
    wait_for_step(by_one, 2, two[0])
    two[1].send_signal(signal.SIGTERM)
    statuses, printed = finish_many(two)
    assert statuses == [EXIT_STOPPED, EXIT_STOPPED]
    assert "stopped by a signal to another process: step " in printed[0][0]
    assert printed[1][0].count("step") == 0  # only process 0 writes
    stopped_at = logged(by_one)
    assert 2 < stopped_at < 12
    assert (by_one / "checkpoints" / str(stopped_at)).is_dir()
    shutil.copytree(by_one, by_four)

    out, _ = run("train", *TINY, f"--workdir={by_one}", devices=8)
    assert f"resumed at step {stopped_at}" in out
    four = start_many(4, f"--workdir={by_four}")
    statuses, printed = finish_many(four)
    assert statuses == [0] * 4, printed
    assert f"resumed at step {stopped_at}" in printed[0][0]
    for workdir in (by_one, by_four):
        assert losses(workdir) == pytest.approx(losses(eight_devices), rel=1e-4)
        assert json.loads((workdir / "eval.json").read_text())["num_examples"] == 360
    assert len(json.loads((by_four / "config.json").read_text())["devices"]) == 8


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_killing_one_process_ends_the_other_within_the_heartbeat(killed, tmp_path):
    two = start_many(2, f"--workdir={tmp_path}", LONG)
    wait_for_step(tmp_path, 1, two[0])
    began = time.monotonic()
    two[killed].kill()
    statuses, printed = finish_many(two)
    assert time.monotonic() - began < 10 + 25  # the heartbeat, and its delay on a busy machine
    assert statuses[killed] == -signal.SIGKILL
    assert statuses[1 - killed] not in (0, 2, EXIT_STOPPED)
    message = printed[1 - killed][1]
    if killed:
        assert "stopped sending heartbeats):\n1\n" in message
    else:
        assert "leader" in message  # JAX's name of process 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.train.seed=1"], "config.train.seed is 1 in process 1 ("),
        (["--workdir={}/other"], "of process 1 is not that of process 0"),
    ],
)
def test_different_configs_and_workdirs_are_refused_before_the_first_step(
    arguments, message, tmp_path
):
    extra = {1: [argument.format(tmp_path) for argument in arguments]}
    statuses, printed = finish_many(start_many(2, f"--workdir={tmp_path}/one", extra=extra))
    assert statuses == [2, 2], printed
    for _, err in printed:
        assert message in err
        assert "Traceback" not in err
    assert not (tmp_path / "one" / "checkpoints").exists()


def test_slurm_tasks_find_each_other(tmp_path):
    """Tasks have the environment of srun; they end early because their seeds differ."""
    job = 1 + free_port()  # JAX derives the port from it
    tasks = []
    for index in range(2):
        environment = {
            "SLURM_JOB_ID": job,
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_NTASKS": 2,
            "SLURM_STEP_NUM_TASKS": 2,
            "SLURM_PROCID": index,
            "SLURM_LOCALID": index,
        }
        tasks.append(
            start(
                "train",
                *TINY,
                f"--workdir={tmp_path}",
                f"--config.train.seed={index}",
                environment={name: str(value) for name, value in environment.items()},
            )
        )
    statuses, printed = finish_many(tasks)
    assert statuses == [2, 2], printed
    assert "config.train.seed is 1 in process 1 (" in printed[0][1]


def test_different_devices_are_refused(tmp_path):
    address = [f"--coordinator=localhost:{free_port()}", "--num_processes=2"]
    processes = [
        start("train", *TINY, *address, f"--workdir={tmp_path}", f"--process_id={i}", devices=i + 1)
        for i in range(2)
    ]
    statuses, printed = finish_many(processes)
    assert statuses == [2, 2], printed
    assert "error: process 1 has 2 x cpu and process 0 has 1 x cpu" in printed[0][1]


def test_different_code_is_refused(tmp_path):
    """The second process runs a copy of the project in which a comment has changed."""
    copy = tmp_path / "copy"
    for folder in ("perceiver", "experiments", "configs"):
        shutil.copytree(folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy("pyproject.toml", copy)
    with (copy / "perceiver" / "blocks.py").open("a") as file:
        file.write("# another\n")
    port = free_port()
    address = [f"--coordinator=localhost:{port}", "--num_processes=2", f"--workdir={tmp_path}/run"]
    statuses, printed = finish_many(
        [
            start("train", *TINY, *address, "--process_id=0"),
            start("train", *TINY, *address, "--process_id=1", cwd=copy),
        ]
    )
    assert statuses == [2, 2], printed
    assert "the code (SHA-256 of its files) is " in printed[0][1]


def test_one_process_of_two_is_an_error():
    address = ["--coordinator=localhost:9", "--num_processes=2", "--process_id=1"]
    _, err = run("train", *TINY, "--workdir=x", "--meeting_seconds=5", *address, status=1)
    assert "error: nobody answers at --coordinator=localhost:9 within 5 s: " in err
    assert "Connection refused" in err
    cluster = "--distributed=cluster"
    _, err = run("train", *TINY, "--workdir=x", "--meeting_seconds=5", cluster, status=1)
    assert "error: can't meet the other processes of this cluster: " in err


@pytest.mark.parametrize("count", [2, 7, 64])
def test_all_hosts_have_the_same_number_of_steps(count):
    """Hosts share examples, not files: each of the 360 examples counts once."""
    source = digits.load(image_size=8, channels=1).eval
    batches = [
        list(eval_batches(source, batch_size=8, process_index=i, process_count=count))
        for i in range(count)
    ]
    assert {len(host_batches) for host_batches in batches} == {-(-360 // (8 * count))}
    real = [b["index"][b["mask"] > 0] for host_batches in batches for b in host_batches]
    assert sorted(np.concatenate(real)) == list(range(360))


def test_hosts_train_on_disjoint_parts_of_one_stream():
    """A global batch of 350 of 360 examples on 7 hosts repeats no example."""
    source = digits.load(image_size=8, channels=1).eval
    firsts = [
        next(train_iterator(source, batch_size=50, seed=0, process_index=i, process_count=7))
        for i in range(7)
    ]
    assert len(set(np.concatenate([batch["index"] for batch in firsts]))) == 350
