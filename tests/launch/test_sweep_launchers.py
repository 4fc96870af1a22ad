"""Sweeps with SLURM and on TPU pods, with stand-ins for sbatch, scancel and launch/tpu_pod.sh.

Each stand-in logs its arguments; training is the stand-in of sweep_trainer.py.
"""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.launch.sweeps import checkout, start, sweep, tries, write
from tests.processes import wait_for

STAND_IN = """#!/bin/bash
{python} - "$0" "$@" <<'END'
import json, sys
with open("{calls}", "a") as file:
    print(json.dumps(sys.argv[1:]), file=file)
END
{then}
"""
# The trainer's flags follow the batch script, or --.
SBATCH = """
for word; do [[ $word == --output=* ]] && log=${{word#*=}}; done
while [[ $1 != launch/slurm.sbatch ]]; do shift; done
shift
{python} -m experiments.train "$@" >>"${{log//%%/%}}" 2>&1 &
echo $! >job
wait $!
"""
SCANCEL = """[[ " $* " == *" --state=RUNNING "* ]] && kill "$(cat job)"; true"""
TPU = """
if [[ $1 == stop ]]; then kill -TERM "$(cat "job $2")"; exit; fi
[[ "$3 $4" == "--watch --" ]] || exit 2
echo $$ >"job $2"
shift 4
exec {python} -m experiments.train "$@"
"""


@pytest.fixture
def cluster(tmp_path):
    """A checkout with stand-ins on PATH, options of sweeps in it, and the calls of stand-ins."""
    root = checkout(tmp_path / "100% ours")
    python, calls = sys.executable, root / "calls"

    def program(path, then):
        path.write_text(STAND_IN.format(python=python, calls=calls, then=then))
        path.chmod(0o755)

    (root / "bin").mkdir()
    program(root / "bin" / "sbatch", SBATCH.format(python=python))
    program(root / "bin" / "scancel", SCANCEL)
    (root / "launch" / "tpu_pod.sh").unlink(missing_ok=True)
    program(root / "launch" / "tpu_pod.sh", TPU.format(python=python))

    def called():
        return [json.loads(line) for line in calls.read_text().splitlines()]

    options = dict(root=root, environment={"PATH": f"{root}/bin:{os.environ['PATH']}"})
    return root, options, called


def test_each_point_is_a_job(cluster):
    root, options, called = cluster
    file = write(root / "sweep.json", {"a": {"model.num_latents": 2, "model.dtype": "a b;$(c)'"}})
    arguments = (f"--sweep={file}", "--workdir=runs", "--launcher=slurm", "--sbatch=--gpus=8")
    out, err = sweep(
        *arguments, "--sbatch=--time=1:00:00", "--", "--config.train.seed=3", **options
    )
    assert not err
    ((program, wait, job, single, output, mode, *words),) = called()
    assert (program, wait) == (f"{root}/bin/sbatch", "--wait")
    assert single == "--dependency=singleton"  # jobs of one folder share a name
    assert job.startswith("--job-name=sweep-")
    log = f"{root}/runs/a/output.log"
    assert (output, mode) == (f"--output={log.replace('%', '%%')}", "--open-mode=append")
    assert words == [
        "--gpus=8",
        "--time=1:00:00",
        "launch/slurm.sbatch",
        "--config=configs/digits.py",
        f"--workdir={root}/runs/a",
        "--config.train.seed=3",
        "--config.model.num_latents=2",
        "--config.model.dtype=a b;$(c)'",
    ]
    assert "step 1/4" in Path(log).read_text()
    assert "a is done: 50.00% top1  loss 0.5000" in out


def test_jobs_are_queued_together_and_stopped(cluster):
    root, options, called = cluster
    file = write(root / "sweep.json", {"a": {"train.act": "wait"}, "b": {"train.act": "wait"}})
    arguments = (f"--sweep={file}", "--workdir=runs", "--launcher=slurm", "--parallel=2")
    process = start(*arguments, "--only=a", **options)
    wait_for((root / "runs" / "a" / "metrics.jsonl").exists)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, out + err
    assert "a ended with status 75: step 1 is saved" in out
    name = called()[0][2].replace("--job-name=", "--name=")
    cancelled = sorted(call[1:] for call in called()[1:])
    assert cancelled == [
        ["--batch", "--signal=TERM", "--state=RUNNING", name],
        ["--state=PENDING", name],
    ]
    process = start(*arguments, **options)
    wait_for(lambda: all((root / "runs" / x / "tries").exists() for x in "ab"))
    (root / "runs" / "go on").touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    jobs = {word for call in called() for word in call if word.startswith("--job-name=")}
    assert len(jobs) == 2


def test_each_pod_trains_one_point_at_a_time(cluster):
    root, options, called = cluster
    points = {name: {"train.seed": number} for number, name in enumerate("abcd")}
    file = write(root / "sweep.json", points)
    arguments = (f"--sweep={file}", "--workdir=runs", "--launcher=tpu", "--pods=one,two")
    out, _ = sweep(*arguments, **options)
    trainings = [call[1:] for call in called()]
    assert sorted(call[1] for call in trainings) == ["one", "one", "two", "two"]
    for call in trainings:
        assert (call[0], call[2:5]) == ("train", ["--watch", "--", "--config=configs/digits.py"])
    # Points of one pod do not overlap: the stand-in takes 0.3 s.
    for pod in ("one", "two"):
        names = [call[5].rpartition("/")[2] for call in trainings if call[1] == pod]
        first, second = sorted(tries(root / "runs" / name)[0][0] for name in names)
        assert second - first > 0.3
    assert out.count(" is done: ") == 4


def test_pods_are_stopped(cluster):
    root, options, called = cluster
    file = write(root / "sweep.json", {"a": {"train.act": "wait"}})
    arguments = (f"--sweep={file}", "--workdir=runs", "--launcher=tpu", "--pods=one")
    process = start(*arguments, **options)
    wait_for((root / "runs" / "a" / "metrics.jsonl").exists)
    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, out + err
    assert called()[-1][1:] == ["stop", "one"]
    assert "stopped at a: start the sweep again" in out
