"""Runs of experiments.train: their output, the files in the workdir, and the training loop."""

import json
import os
import pty
import shutil
import subprocess
import termios

import jax
import numpy as np
import pytest

from experiments import train
from experiments.cli.config_files import load_config
from perceiver.training.logging.metrics import read_metrics
from perceiver.training.parallel import DataParallel
from perceiver.training.stopping import StopRequest
from tests.processes import ROOT, TINY, run, start


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workdir, stdout and stderr of a run of 12 steps."""
    workdir = tmp_path_factory.mktemp("run")
    out, err = run("train", *TINY, f"--workdir={workdir}", "--config.train.ema_decay=0.9")
    return workdir, out, err


class TestFinishedRun:
    def test_prints_data_set_sizes_costs_and_results(self, finished):
        workdir, out, err = finished
        assert "10 classes, 1,437 training and 360 evaluation examples" in out
        assert "12 steps of 64" in out
        assert "GFLOPs an example forward" in out
        assert f"curves: {workdir}/curves.png" in out
        assert "step 12/12  loss " in err  # plain lines without a terminal
        assert "examples/s" in err
        assert "  data " in err  # the share of time spent waiting for data
        assert "Traceback" not in err

    def test_logs_one_line_per_step(self, finished):
        lines = [json.loads(x) for x in (finished[0] / "metrics.jsonl").read_text().splitlines()]
        assert [x["step"] for x in lines if x["split"] == "train"] == list(range(1, 13))
        assert [x["step"] for x in lines if x["split"] == "eval"] == [6, 12]
        assert {"loss", "top1", "top5", "learning_rate", "gradient_norm"} <= lines[0].keys()
        assert lines[0]["loss"] == pytest.approx(0.9 * np.log(10) + 0.1 * np.log(10))  # zero head

    def test_writes_config_versions_and_devices(self, finished):
        about = json.loads((finished[0] / "config.json").read_text())
        assert about["config"]["train"]["steps"] == 12
        assert about["config"]["model"]["num_latents"] == 4
        assert about["versions"]["jax"]
        assert about["devices"] == ["cpu:0 cpu"]
        revision = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if revision.returncode == 0:  # fails in an unpacked archive
            assert about["git"].removesuffix("+changes") == revision.stdout.strip()

    def test_draws_curves_and_writes_tensorboard_events(self, finished):
        assert (finished[0] / "curves.png").read_bytes().startswith(b"\x89PNG")
        assert list(finished[0].glob("events.out.tfevents.*"))

    def test_keeps_the_newest_and_the_best_checkpoints(self, finished):
        steps = {int(p.name) for p in (finished[0] / "checkpoints").iterdir() if p.name.isdigit()}
        best = max(
            (r for r in read_metrics(finished[0]) if r["split"] == "eval"),
            key=lambda r: (r["top1"], r["step"]),
        )
        assert steps == {8, 12, best["step"]}

    def test_evaluate_gives_the_same_result(self, finished, tmp_path):
        workdir = finished[0]
        training_result = json.loads((workdir / "eval.json").read_text())
        (workdir / "eval.json").unlink()
        out, _ = run(
            "evaluate",
            *TINY,
            f"--workdir={workdir}",
            "--config.train.ema_decay=0.9",
            "--config.eval.batch_size=77",  # divisible by neither devices nor examples
            devices=3,
        )
        evaluated = json.loads((workdir / "eval.json").read_text())
        assert evaluated["num_examples"] == 360
        assert evaluated["step"] == 12
        assert (evaluated["top1"], evaluated["top5"]) == (
            training_result["top1"],
            training_result["top5"],
        )
        assert evaluated["loss"] == pytest.approx(training_result["loss"], rel=1e-6)
        assert f"{evaluated['top1']:.2%}" in out

    def test_starting_again_evaluates_and_changes_no_metrics(self, finished):
        before = read_metrics(finished[0])
        out, _ = run("train", *TINY, f"--workdir={finished[0]}", "--config.train.ema_decay=0.9")
        assert "resumed at step 12" in out
        assert read_metrics(finished[0]) == before

    def test_another_network_is_refused(self, finished, tmp_path):
        """The config shows the difference; without a config.json, the arrays do."""
        workdir = tmp_path / "run"
        shutil.copytree(finished[0], workdir)
        other = [
            *TINY,
            f"--workdir={workdir}",
            "--config.train.ema_decay=0.9",
            "--config.model.latent_channels=16",
        ]
        _, err = run("train", *other, status=2)
        assert err.startswith("error: config.model.latent_channels=16, but --workdir=")
        assert "was trained with 8" in err
        (workdir / "config.json").unlink()
        _, err = run("train", *other, status=1)
        assert "is of another model" in err
        assert "float32[4, 8] in the checkpoint and float32[4, 16] here" in err
        assert "Traceback" not in err


@pytest.fixture(scope="module")
def uninterrupted(tiny_run):
    return tiny_run


def test_one_device_and_eight_give_the_same_losses(uninterrupted, tmp_path):
    run("train", *TINY, f"--workdir={tmp_path}", devices=8)
    about = json.loads((tmp_path / "config.json").read_text())
    assert len(about["devices"]) == 8
    for ours, theirs in zip(read_metrics(tmp_path), read_metrics(uninterrupted), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_accumulated_gradients_give_the_same_losses(uninterrupted, tmp_path):
    run("train", *TINY, f"--workdir={tmp_path}", "--config.train.accumulate=4")
    for ours, theirs in zip(read_metrics(tmp_path), read_metrics(uninterrupted), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        ["--config.model.dtype=bfloat16", "--config.optimizer.name=adamw"],
        ["--config.model.remat=block", "--config.optimizer.name=sgd"],
    ],
    ids=str,
)
def test_other_optimisers_dtypes_and_rematerialisation(change, tmp_path):
    out, _ = run(
        "train",
        *TINY,
        *change,
        f"--workdir={tmp_path}",
        "--config.optimizer.schedule=step",
        "--config.optimizer.boundaries=(6,)",
        "--config.optimizer.learning_rate=0.001",
        "--config.optimizer.clip_norm=1.0",
    )
    rates = [r["learning_rate"] for r in read_metrics(tmp_path) if r["split"] == "train"]
    np.testing.assert_allclose(rates, [1e-3] * 6 + [1e-4] * 6, rtol=1e-6)
    assert "reached, at step 12" in out


def test_a_terminal_shows_a_progress_bar(tmp_path):
    """The terminal is a pseudo-terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    process = start("train", *TINY, f"--workdir={tmp_path}", stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = shown.decode(errors="replace")
    assert "12/12" in text
    assert "█" in text or "#" in text
    assert "loss " in text
    assert "accuracy " in text
    assert "examples/s" in text
    assert "left" in text


def test_training_evaluates_the_held_out_part_and_evaluate_the_test_split(tmp_path):
    arguments = [*TINY, f"--workdir={tmp_path}", "--config.data.held_out=0.2"]
    out, _ = run("train", *arguments)
    assert "10 classes, 1,150 training and 287 evaluation examples" in out
    assert "on the held-out part: top-1" in out
    training_result = json.loads((tmp_path / "eval.json").read_text())
    assert training_result.keys() == {"step", "held_out"}
    assert training_result["held_out"]["num_examples"] == 287

    out, _ = run("evaluate", *arguments)
    evaluated = json.loads((tmp_path / "eval.json").read_text())
    assert evaluated["num_examples"] == 360
    assert evaluated["held_out"]["top1"] == training_result["held_out"]["top1"]
    assert "held-out part of the training split: top-1" in out


def test_permuted_inputs_give_the_same_losses(finished, tmp_path):
    """Table 2: the order of inputs has no effect, here up to rounding and for 3 steps."""
    raw = [r["loss"] for r in read_metrics(finished[0]) if r["split"] == "train"][:3]
    for permutation in ("fixed", "random"):
        workdir = tmp_path / permutation
        run(
            "train",
            *TINY,
            f"--workdir={workdir}",
            f"--config.model.permutation={permutation}",
            "--config.train.ema_decay=0.9",
            "--config.train.steps=3",
            "--config.optimizer.schedule=constant",
        )
        losses = [r["loss"] for r in read_metrics(workdir) if r["split"] == "train"]
        assert losses[0] == pytest.approx(raw[0], rel=1e-5)
        assert losses == pytest.approx(raw, rel=0.05)


@pytest.mark.usefixtures("quick_compilation")
class TestLoop:
    """Runs the loop in this process and observes its functions."""

    def config(self, **train):
        config = load_config("configs/digits.py")
        config.model.update(num_latents=4, latent_channels=8, self_heads=2)
        config.model.self_attends_per_tower = 1
        config.train.update(eval_every_epochs=None, checkpoint_every_epochs=None, **train)
        return config

    def test_the_host_waits_only_at_log_steps(self, tmp_path, monkeypatch):
        """It fetches metrics one step late, while the devices compute the next step."""
        waits = []

        def fetch(devices, pending):
            waits.append([step for step, _ in pending])
            return original(devices, pending)

        original = train.fetch
        monkeypatch.setattr(train, "fetch", fetch)
        assert train.train(self.config(steps=12, log_every=5), str(tmp_path)) is None
        assert waits == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12]]
        logged = [r["step"] for r in read_metrics(tmp_path) if r["split"] == "train"]
        assert logged == [5, 10, 12]

    def test_the_last_evaluation_is_logged_once(self, tmp_path):
        """It is logged without an interval too, and only once if the run is started again."""
        config = self.config(steps=3, log_every=0)
        for _ in range(2):
            train.train(config, str(tmp_path))
            (record,) = [r for r in read_metrics(tmp_path) if r["split"] == "eval"]
            result = json.loads((tmp_path / "eval.json").read_text())
            assert record == {"split": "eval", **result}

    def test_a_run_without_logs_holds_few_metrics_on_the_devices(self, tmp_path, monkeypatch):
        monkeypatch.setattr(train, "_MOST_PENDING", 4)
        fetched = []
        original = train.fetch
        monkeypatch.setattr(
            train, "fetch", lambda d, pending: fetched.append(len(pending)) or original(d, pending)
        )
        train.train(self.config(steps=12, log_every=0), str(tmp_path))
        assert max(fetched) <= 4
        assert sum(fetched) == 12


@pytest.mark.parametrize(("seconds", "queued"), [(10.0, 1), (0.5, 4), (0.001, 32)])
def test_the_host_queues_two_seconds_of_steps(monkeypatch, seconds, queued):
    """A stop has to wait for the queued steps, so slow steps are not queued."""
    done, clock = [], iter(range(10**6))
    monkeypatch.setattr(jax, "block_until_ready", done.append)
    monkeypatch.setattr(train.time, "monotonic", lambda: next(clock) * seconds * 5)
    queue = train.Queue()
    for step in range(100):
        queue.wait(step)
    assert done == list(range(100 - queued))


def test_processes_stop_at_the_same_step(monkeypatch):
    """All processes read a vote at the same step, a few steps late."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    stop = StopRequest()
    vote = train.StopVote(DataParallel(), stop)
    stops = []
    for step in range(10):
        if step == 3:
            stop.requested = "SIGTERM"
        stops.append(vote())
    assert stops.index(True) == 3 + train._VOTE_LAG
