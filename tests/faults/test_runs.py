"""Runs of one process that are killed, stopped, resumed or fail."""

import contextlib
import json
import os
import random
import shutil
import signal
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.cli.config_files import load_config
from experiments.run.directory import check_resumable, write_run
from experiments.run.lock import RunLock
from perceiver.errors import InputError
from perceiver.training.logging.metrics import read_metrics
from perceiver.training.stopping import EXIT_STOPPED
from tests.processes import TINY, finish, logged, run, start, start_python, wait_for_step


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, tiny_run):
    """The workdir of a run of 12 steps without interruption."""
    return shutil.copytree(tiny_run, tmp_path_factory.mktemp("uninterrupted") / "run")


def assert_same_run(workdir, other, step=12):
    """Compares all metrics and all arrays of a checkpoint bitwise."""
    assert read_metrics(workdir) == read_metrics(other)
    ours, theirs = arrays(workdir, step), arrays(other, step)
    assert ours.keys() == theirs.keys()
    for path, array in ours.items():
        np.testing.assert_array_equal(array, theirs[path], err_msg=path)


def arrays(workdir, step):
    """Returns the arrays of a checkpoint by path, read without the project's code."""
    folder = workdir / "checkpoints" / str(step) / "state"
    with ocp.PyTreeCheckpointer() as checkpointer:
        return {k: np.asarray(v) for k, v in checkpointer.restore(folder).items()}


def saved(workdir):
    return {int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()}


@pytest.mark.parametrize(
    "kills", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_a_run_killed_at_random_moments_resumes_as_the_same_run(kills, uninterrupted, tmp_path):
    """Kills happen during imports, compilation, steps, saves, evaluation and the end."""
    draw = random.Random(kills)
    happened = 0
    while happened < kills and not (tmp_path / "eval.json").exists():
        training = draw.random() < 0.8  # else early, during imports or compilation
        process = start("train", *TINY, f"--workdir={tmp_path}", fresh=not training)
        if training:
            wanted = min(logged(tmp_path) + draw.randint(1, 4), 12)
            wait_for_step(tmp_path, wanted, process)
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
        process.communicate()
        happened += 1
    _, err = run("train", *TINY, f"--workdir={tmp_path}")
    assert "did not end by itself" in err  # the lock of the killed process
    assert not list((tmp_path / "checkpoints").glob("*unfinished*"))
    assert_same_run(tmp_path, uninterrupted)


def test_signals_save_and_the_resumed_run_is_the_same(uninterrupted, tmp_path):
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        process = start("train", *TINY, f"--workdir={tmp_path}")
        wait_for_step(tmp_path, logged(tmp_path) + 1, process)
        process.send_signal(number)
        out, err = finish(process, EXIT_STOPPED)
        assert f"stopped by {signal.Signals(number).name}" in out
        assert "saving after this step; once more to end at once" in err
        assert (tmp_path / "lock").read_text() == ""
        assert logged(tmp_path) in saved(tmp_path)
    run("train", *TINY, f"--workdir={tmp_path}")
    assert_same_run(tmp_path, uninterrupted)


class TestLock:
    def test_a_stale_lock_of_this_machine_is_replaced(self, tmp_path, capsys):
        stale = {"host": os.uname().nodename, "pid": 1, "since": "noon"}
        (tmp_path / "lock").write_text(json.dumps(stale))
        with RunLock(tmp_path) as workdir:
            assert workdir == tmp_path
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
        assert "process 1 on" in capsys.readouterr().err
        assert (tmp_path / "lock").read_text() == ""

    def test_a_live_lock_of_another_machine_is_refused(self, tmp_path):
        lock = tmp_path / "lock"
        lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "since": "noon"}))
        # Stands in for `RunLock` on the other machine, which touches the file.
        touch = "import os, sys, time; time.sleep(1); os.utime(sys.argv[1])"
        with (
            start_python("-c", touch, lock),
            pytest.raises(InputError, match="in use by process 7 on elsewhere, which began noon"),
        ):
            RunLock(tmp_path).__enter__()
        assert "elsewhere" in lock.read_text()

    def test_an_untouched_lock_of_another_machine_is_stale(self, tmp_path, monkeypatch):
        monkeypatch.setattr("experiments.run.lock.STALE_SECONDS", 1.0)
        (tmp_path / "lock").write_text(json.dumps({"host": "gone", "pid": 7, "since": "noon"}))
        with RunLock(tmp_path):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


class TestChangedConfig:
    """Compares a config with the one that a run left in its workdir."""

    @pytest.fixture
    def workdir(self, tmp_path):
        write_run(tmp_path, load_config("configs/digits.py"), parameters=1, class_names=["a", "b"])
        (tmp_path / "checkpoints" / "10").mkdir(parents=True)
        return tmp_path

    def test_duration_logging_and_implementation_may_change(self, workdir, capsys):
        config = load_config("configs/digits.py")
        config.train.epochs = 70.0
        config.train.log_every = 1
        config.model.attention = "dense"
        check_resumable(workdir, config, insist=False)
        shown = capsys.readouterr().out
        assert "config.train.epochs=70.0, before 60.0" in shown
        assert "config.model.attention=dense, before auto" in shown

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("optimizer.learning_rate", 0.1, "config.optimizer.learning_rate=0.1, before 0.01"),
            ("train.seed", 3, "config.train.seed=3, before 0"),
            ("model.dtype", "bfloat16", "config.model.dtype=bfloat16, before float32"),
        ],
    )
    def test_other_changes_need_insist(self, workdir, key, value, message):
        config = load_config("configs/digits.py")
        config.update_from_flattened_dict({key: value})
        with pytest.raises(InputError, match="is another run: " + message) as refused:
            check_resumable(workdir, config, insist=False)
        assert "--insist to go on" in str(refused.value)
        check_resumable(workdir, config, insist=True)

    def test_another_network_is_refused_with_insist_too(self, workdir):
        config = load_config("configs/digits.py")
        config.model.num_latents = 5
        with pytest.raises(InputError, match="was trained with 32"):
            check_resumable(workdir, config, insist=True)

    def test_train_refuses_a_changed_learning_rate(self, uninterrupted):
        rate = "--config.optimizer.learning_rate=0.02"
        _, err = run("train", *TINY, f"--workdir={uninterrupted}", rate, status=2)
        assert "config.optimizer.learning_rate=0.02, before 0.01" in err
        assert "--insist" in err


@pytest.mark.parametrize("checkpoint_every", [1, 10])
def test_a_non_finite_loss_ends_the_run_and_the_step_is_not_saved(tmp_path, checkpoint_every):
    """Metrics are fetched before a checkpoint is saved, and the first non-finite step is named."""
    _, err = run(
        "train",
        *TINY,
        f"--workdir={tmp_path}",
        "--config.optimizer.name=sgd",
        "--config.optimizer.learning_rate=1e30",
        "--config.train.log_every=50",
        f"--config.train.checkpoint_every={checkpoint_every}",
        "--config.train.keep_checkpoints=12",
        status=1,
    )
    assert "Traceback" not in err
    message = err[err.index("error: ") :]
    assert message.startswith(("error: parameters of ", "error: loss is "))
    assert "lower config.optimizer.learning_rate" in message
    wrong = int(message.rsplit(" step ", 1)[1].split(";")[0])
    assert saved(tmp_path) == (set(range(1, wrong)) if checkpoint_every == 1 else set())
    assert read_metrics(tmp_path)[-1]["step"] == wrong  # written outside the logging interval


def test_a_second_trainer_is_refused_and_an_evaluator_can_be_killed(tmp_path):
    """The run keeps one checkpoint, so it deletes checkpoints all the time, undisturbed."""
    keep = ["--config.train.keep_checkpoints=1", "--config.train.checkpoint_every=1"]
    arguments = [*TINY, f"--workdir={tmp_path}", *keep, "--config.train.eval_every=0"]
    trainer = start("train", *arguments, "--config.train.steps=100000")
    wait_for_step(tmp_path, 2, trainer)

    _, err = run("train", *arguments, status=2)
    assert err.startswith(f"error: --workdir={tmp_path} is in use by process {trainer.pid} on ")
    assert "stop that run first, or take another workdir" in err

    evaluator = start("evaluate", *arguments, fresh=True)  # still starting after 3 s
    time.sleep(3)
    evaluator.kill()
    evaluator.communicate()
    assert not (tmp_path / "eval.json").exists()
    before = logged(tmp_path)
    run("evaluate", *arguments)
    assert json.loads((tmp_path / "eval.json").read_text())["step"] >= before - 1

    wait_for_step(tmp_path, logged(tmp_path) + 2, trainer)


def test_a_full_disk_ends_the_run(small_disk):
    """The write of a log or checkpoint fails; with space again, the run resumes."""
    workdir = small_disk / "run"
    process = start("train", *TINY, f"--workdir={workdir}", "--config.train.steps=100000")
    wait_for_step(workdir, 1, process)
    while not saved(workdir):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    _, err = finish(process, 1)
    # TensorStore's threads print their own errors around the message, even in its line.
    message = err[err.index("error: ") :]
    assert str(workdir) in message
    assert "No space left on device" in message
    (small_disk / "filler").unlink()
    newest = max(saved(workdir))
    out, _ = run("train", *TINY, f"--workdir={workdir}", f"--config.train.steps={newest + 1}")
    assert f"resumed at step {newest}" in out
