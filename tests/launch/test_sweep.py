"""Sweeps as real processes with real signals, and the files that they leave.

The trainer is a quick stand-in in all tests but one.
"""

import csv
import json
import os
import re
import signal

import pytest

from perceiver.training.logging.metrics import read_metrics
from perceiver.training.stopping import EXIT_STOPPED
from tests.launch.sweeps import checkout, start, sweep, tries, write
from tests.processes import TINY, wait_for


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A checkout with a quick stand-in for the trainer."""
    return checkout(tmp_path_factory.mktemp("checkout"))


def acts(path, **points):
    """Writes a sweep with one point per name, which does what --config.train.act says."""
    return write(path, {name: {"train.act": act} for name, act in points.items()})


def rows(folder):
    with (folder / "sweep.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_a_grid_of_real_runs(tmp_path):
    """The sweep runs from another folder; an unknown flag starts nothing."""
    more = [flag for flag in TINY if not flag.startswith("--config=")]
    more += ["--config.data.held_out=0.25", "--config.train.eval_every=0"]
    line = "model.num_latents=1,2;model.inputs.image.max_resolution=(4.0, 4.0)"
    arguments = ("--config=configs/digits.py", f"--sweep={line}", "--workdir=runs", "--parallel=2")
    _, err = sweep(*arguments, "--", *more, "--config.train.stepps=3", cwd=tmp_path, status=2)
    assert err.splitlines() == [
        "error: unknown config key 'train.stepps': did you mean 'train.steps'? (of "
        "experiments.train; nothing was started)"
    ]
    assert not list((tmp_path / "runs").iterdir())

    out, err = sweep(*arguments, "--", *more, cwd=tmp_path)
    assert not err
    folders = sorted(path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    found = rows(tmp_path / "runs")
    assert [path.name for path in folders] == sorted(found)
    results = []
    for folder, latents in zip(folders, (1, 2), strict=True):
        assert re.fullmatch(
            rf"num_latents={latents},max_resolution=_4.0_4.0_~\w{{10}}", folder.name
        )
        model = json.loads((folder / "config.json").read_text())["config"]["model"]
        assert model["num_latents"] == latents
        assert model["inputs"]["image"]["max_resolution"] == [4.0, 4.0]
        assert max(record["step"] for record in read_metrics(folder)) == 12
        values = json.loads((folder / "eval.json").read_text())["held_out"]
        row = found[folder.name]
        assert (row["status"], row["step"]) == ("done", "12")
        assert (row["model.num_latents"], float(row["top1"])) == (str(latents), values["top1"])
        results.append((folder.name, f"{values['top1']:.2%}", f"{values['loss']:.4f}"))
    printed = re.findall(r"^(\S+) +([\d.]+%) top1 held-out  loss ([\d.]+)$", out, re.MULTILINE)
    assert printed == sorted(results, key=lambda x: (-float(x[1][:-1]), float(x[2])))
    assert (tmp_path / "runs" / "sweep.png").stat().st_size > 1000


class TestPoints:
    def test_a_failed_point_is_retried_then_skipped(self, stand_in, tmp_path):
        file = acts(tmp_path / "sweep.json", bad="fail", killed="die_once", good="train")
        arguments = (f"--sweep={file}", f"--workdir={tmp_path}/runs")
        out, err = sweep(*arguments, root=stand_in, status=1)
        assert err.splitlines() == ["error: 1 of 3 points failed: bad (status 1)"]
        assert "bad ended with status 1: the loss is nan at step 1; it will be started again" in out
        assert "killed ended with SIGKILL: step 1/4  loss 2.5; it will be started again" in out
        found = rows(tmp_path / "runs")
        assert {name: row["status"] for name, row in found.items()} == {
            "bad": "failed",
            "killed": "done",
            "good": "done",
        }
        assert [len(tries(tmp_path / "runs" / name)) for name in found] == [2, 2, 1]
        assert found["bad"]["step"] == "1"  # its last step

        out, _ = sweep(*arguments, "--retries=2", root=stand_in, status=1)
        assert "[3/3] good is done: 75.00% top1  loss 0.2500" in out
        assert [len(tries(tmp_path / "runs" / name)) for name in found] == [5, 2, 1]

    def test_a_stopped_point_is_started_again(self, stand_in, tmp_path):
        file = acts(tmp_path / "sweep.json", a="stop_once")
        arguments = (f"--sweep={file}", f"--workdir={tmp_path}", "--retries=0")
        out, _ = sweep(*arguments, root=stand_in)
        assert (
            "a ended with status 75: step 1 is saved; run again to go on; it will be start" in out
        )
        assert "[1/1] a is done" in out

    def test_only_trains_the_selected_point(self, stand_in, tmp_path):
        file = acts(tmp_path / "sweep.json", a="train", b="train")
        out, _ = sweep(f"--sweep={file}", f"--workdir={tmp_path}/x", "--only=1", root=stand_in)
        assert {path.name for path in (tmp_path / "x").iterdir()} == {"b", "sweep.csv"}
        assert "[1/1] b: train.act=train" in out

    def test_precedence_of_overrides(self, stand_in, tmp_path):
        """Overrides of a point take precedence over flags behind --, and these over common ones."""
        common = {"train.seed": 1, "model.num_latents": 1, "model.dtype": "a; touch x"}
        file = write(tmp_path / "s.json", {"a": {"train.seed": 3}}, overrides=common)
        more = ("--", "--config.train.seed=2", "--config.model.num_latents=2")
        sweep(f"--sweep={file}", f"--workdir={tmp_path}", *more, root=stand_in)
        config = json.loads((tmp_path / "a" / "config.json").read_text())["config"]
        assert config["train"]["seed"] == 3
        assert config["model"] == {"num_latents": 2, "dtype": "a; touch x"}

    def test_parallel_points_share_the_gpus(self, stand_in, tmp_path):
        """Each point gets its share of the GPUs. Points run two at a time."""
        file = acts(tmp_path / "sweep.json", a="wait", b="wait", c="train")
        arguments = (f"--sweep={file}", f"--workdir={tmp_path}/runs", "--parallel=2")
        gpus = {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}
        process = start(*arguments, root=stand_in, environment=gpus)
        both = [tmp_path / "runs" / name / "tries" for name in "ab"]
        wait_for(lambda: all(path.exists() for path in both))
        assert not (tmp_path / "runs" / "c").exists()
        (tmp_path / "runs" / "go on").touch()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
        assert [tries(tmp_path / "runs" / name)[0][2] for name in "ab"] == ["4,5", "6,7"]
        _, err = sweep(*arguments[:2], "--parallel=3", environment=gpus, status=2)
        assert "--parallel=3 does not divide the 4 GPUs" in err

    def test_a_user_error_in_the_first_point_ends_the_sweep(self, stand_in, tmp_path):
        """Once another point has trained, the sweep continues instead."""
        file = acts(tmp_path / "sweep.json", a="refuse", b="refuse", c="train")
        arguments = (f"--sweep={file}", f"--workdir={tmp_path}/runs")
        _, err = sweep(*arguments, "--parallel=2", root=stand_in, status=2)
        (line,) = err.splitlines()
        assert line.startswith("error: a, the first point tried, ended with status 2: no data ther")
        assert not (tmp_path / "runs" / "c").exists()
        sweep(*arguments, "--only=c", root=stand_in)
        _, err = sweep(*arguments, root=stand_in, status=1)
        assert err.splitlines() == ["error: 2 of 3 points failed: a (status 2), b (status 2)"]
        assert len(tries(tmp_path / "runs" / "a")) == 2  # once per sweep

    def test_results_with_other_flags_are_refused(self, stand_in, tmp_path):
        file = acts(tmp_path / "sweep.json", a="train")
        arguments = (f"--sweep={file}", f"--workdir={tmp_path}")
        sweep(*arguments, "--", "--distributed=alone", root=stand_in)
        sweep(*arguments, root=stand_in)  # --distributed does not change results
        _, err = sweep(*arguments, "--", "--config.train.seed=3", root=stand_in, status=2)
        (line,) = err.splitlines()
        assert line.startswith(f"error: {tmp_path}/a is done, but with other flags: nothing then")
        assert "--config.train.seed=3 now" in line

    def test_a_file_in_place_of_a_folder_is_named(self, tmp_path):
        (tmp_path / "b").touch()
        file = acts(tmp_path / "sweep.json", a="train", b="train")
        _, err = sweep(f"--sweep={file}", f"--workdir={tmp_path}", status=2)
        (line,) = err.splitlines()
        assert line.startswith(f"error: {tmp_path}/b/eval.json can't be read: Not a directory")
        assert not (tmp_path / "a").exists()


class TestStopping:
    @pytest.mark.parametrize(
        ("number", "group", "status"),
        [
            (signal.SIGTERM, False, EXIT_STOPPED),
            (signal.SIGTERM, True, 75),  # like `timeout`
            (signal.SIGINT, False, 130),
        ],
    )
    def test_a_signal_reaches_all_points_and_ends_the_sweep(
        self, stand_in, tmp_path, number, group, status
    ):
        file = acts(tmp_path / "sweep.json", a="wait", b="wait", c="train")
        arguments = (f"--sweep={file}", f"--workdir={tmp_path}/runs", "--parallel=2")
        # The sweep inherits ignored signals from the shell of the tests.
        restore = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
        process = start(*arguments, root=stand_in, start_new_session=True, preexec_fn=restore)
        logs = [tmp_path / "runs" / name / "output.log" for name in "ab"]
        wait_for(lambda: all(log.exists() and "step 1/4" in log.read_text() for log in logs))
        (os.killpg if group else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == status, out + err
        assert "stopped at a, b, c: start the sweep again" in out
        saved = [log.read_text().count("is saved") for log in logs]
        assert saved == ([0, 0] if number == signal.SIGINT else [1, 1])  # not twice
        assert not (tmp_path / "runs" / "c").exists()
        (tmp_path / "runs" / "go on").touch()
        sweep(*arguments, root=stand_in)
        assert {row["status"] for row in rows(tmp_path / "runs").values()} == {"done"}

    def test_a_sweep_waits_for_points_of_a_killed_sweep(self, stand_in, tmp_path):
        """After kill -9 a point goes on training; it is not trained twice at once."""
        file = acts(tmp_path / "sweep.json", a="wait", b="train")
        arguments = (f"--sweep={file}", f"--workdir={tmp_path}/runs")
        process = start(*arguments, root=stand_in)
        wait_for((tmp_path / "runs" / "a" / "metrics.jsonl").exists)
        process.kill()
        process.communicate()
        second = start(*arguments, root=stand_in)
        wait_for((tmp_path / "runs" / "b" / "eval.json").exists)
        assert second.poll() is None
        (tmp_path / "runs" / "go on").touch()
        out, err = second.communicate(timeout=60)
        assert second.returncode == 0, out + err
        assert "[1/2] a is still trained by a process of an earlier sweep: waiting" in out
        assert len(tries(tmp_path / "runs" / "a")) == 1
        assert {row["status"] for row in rows(tmp_path / "runs").values()} == {"done"}
