"""Sweeps as a user runs them: real processes, a real signal, and what is left in the workdir."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from experiments.command_line import config_files
from perceiver.training.logs import read_metrics
from perceiver.training.stopping import EXIT_STOPPED
from tests.experiments.processes import ROOT, TINY
from tests.launch.processes import start, sweep, write

MORE = ["--", *(flag for flag in TINY if not flag.startswith("--config="))]


def steps(folder):
    return max(record["step"] for record in read_metrics(folder))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """First one point alone, then all, of which one can't be built; from another folder."""
    folder = tmp_path_factory.mktemp("sweep")
    points = {
        "two": {"model.num_latents": 2},
        "odd": {"model.self_heads": 7},
        "one": {"model.num_latents": 1, "model.inputs.image.max_resolution": [4.0, 4.0]},
    }
    common = {"data.held_out": 0.25, "train.steps": 1000}
    file = write(folder / "sweep.json", points, overrides=common)
    alone = sweep(file.name, "--workdir=runs", "--only=2", *MORE, cwd=folder)
    left = {path.name for path in (folder / "runs").iterdir()}
    both = sweep(file.name, "--workdir=runs", *MORE, cwd=folder, status=1)
    return folder, alone, left, both


class TestSweep:
    def test_only_trains_one_point(self, swept):
        folder, (out, _), left, _ = swept
        assert left == {"one"}  # number 2 of the file
        assert "[1/1] one: model.num_latents=1" in out
        assert steps(folder / "runs" / "one") == 12

    def test_a_point_that_fails_is_named_and_the_others_go_on(self, swept):
        folder, _, _, (out, err) = swept
        assert "odd ended with status 2" in out
        assert err.splitlines()[-1] == "error: 1 of 3 points failed: odd (status 2)"
        assert "Traceback" not in err
        assert steps(folder / "runs" / "two") == 12

    def test_what_is_done_is_not_done_again(self, swept):
        folder, _, _, (out, _) = swept
        assert "[3/3] one is done" in out
        before = (folder / "runs" / "two" / "metrics.jsonl").stat().st_mtime_ns
        arguments = (folder / "sweep.json", f"--workdir={folder}/runs", "--only=one", "--only=two")
        out, err = sweep(*arguments, *MORE)
        assert "[1/2] two is done" in out
        assert "[2/2] one is done" in out
        assert not err
        assert (folder / "runs" / "two" / "metrics.jsonl").stat().st_mtime_ns == before

    def test_each_point_has_its_overrides(self, swept):
        """A point's own win over flags behind --, which win over those of all."""
        configs = {
            name: json.loads((swept[0] / "runs" / name / "config.json").read_text())["config"]
            for name in ("one", "two")
        }
        assert configs["one"]["model"]["num_latents"] == 1
        assert configs["two"]["model"]["num_latents"] == 2
        assert configs["one"]["model"]["inputs"]["image"]["max_resolution"] == [4.0, 4.0]
        assert configs["two"]["model"]["inputs"]["image"]["max_resolution"] == []
        assert [configs[name]["train"]["steps"] for name in ("one", "two")] == [12, 12]
        assert [configs[name]["data"]["held_out"] for name in ("one", "two")] == [0.25, 0.25]

    def test_the_best_comes_first(self, swept):
        """By the held-out part's accuracy, then by its loss, as eval.json has them."""
        folder, _, _, (out, _) = swept
        printed = re.findall(r"^(\w+) +([\d.]+)% top1 held-out  loss ([\d.]+)$", out, re.MULTILINE)
        reached = []
        for name in ("one", "two"):
            values = json.loads((folder / "runs" / name / "eval.json").read_text())["held_out"]
            reached.append((name, f"{values['top1']:.2%}"[:-1], f"{values['loss']:.4f}"))
        assert printed == sorted(reached, key=lambda x: (-float(x[1]), float(x[2])))

    def test_results_of_other_flags_are_refused(self, swept):
        folder = swept[0]
        other = [*MORE, "--config.train.seed=3"]
        arguments = (folder / "sweep.json", f"--workdir={folder}/runs", "--only=two")
        _, err = sweep(*arguments, *other, status=2)
        (line,) = err.splitlines()
        assert line.startswith(f"error: {folder}/runs/two is done, but with other flags")
        assert "--config.train.seed=3 now" in line

    def test_a_damaged_result_is_named(self, swept, tmp_path):
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "eval.json").write_text('{"top1": 0.')
        _, err = sweep(swept[0] / "sweep.json", f"--workdir={tmp_path}", *MORE, status=2)
        (line,) = err.splitlines()
        assert line.startswith(f"error: {tmp_path}/two/eval.json can't be read")

    def test_a_mistake_in_the_flags_of_all_ends_at_the_first_point(self, tmp_path):
        file = write(tmp_path / "sweep.json", {"first": {}, "second": {"model.num_latents": 2}})
        mistyped = [*MORE, "--config.train.stepps=3"]
        out, err = sweep(file, f"--workdir={tmp_path}", *mistyped, status=2)
        assert "unknown config key 'train.stepps'" in err
        assert err.splitlines()[-1].startswith("error: first, the first point tried, ended with st")
        assert "Traceback" not in err
        assert "second" not in out


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestStopping:
    @pytest.mark.parametrize(
        "receiver",
        ["sweep", *(pytest.param(x, marks=pytest.mark.slow) for x in ("point", "group"))],
    )
    def test_a_signal_saves_the_point_and_ends_the_sweep(self, receiver, tmp_path):
        points = {"first": {"train.steps": 100_000}, "second": {"train.steps": 2}}
        file = write(tmp_path / "sweep.json", points)
        arguments = (file, f"--workdir={tmp_path}", *MORE, "--config.train.checkpoint_every=0")
        process = start(*arguments, start_new_session=True)
        log = tmp_path / "first" / "metrics.jsonl"
        wait_for(lambda: log.exists() and log.read_text().count("\n") >= 3)
        if receiver == "sweep":
            process.send_signal(signal.SIGTERM)
        elif receiver == "group":  # as `timeout` sends it
            os.killpg(process.pid, signal.SIGTERM)
        else:
            children = subprocess.check_output(["pgrep", "-P", str(process.pid)], text=True).split()
            subprocess.run(["kill", "-USR1", *children], check=True)
        out, err = process.communicate(timeout=120)
        assert process.returncode == EXIT_STOPPED == 75, out + err
        assert "is saved; run again to go on" in out  # the point's own words
        assert "stopped at first: start the sweep again to go on" in out
        assert steps(tmp_path / "first") > 0
        assert any(path.name.isdecimal() for path in (tmp_path / "first/checkpoints").iterdir())
        assert not (tmp_path / "first" / "eval.json").exists()
        assert not (tmp_path / "second").exists()

    @pytest.mark.slow
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGHUP, 129), (signal.SIGINT, 130)])
    def test_a_signal_that_ends_has_the_status_that_shells_have(self, number, status, tmp_path):
        file = write(tmp_path / "sweep.json", {"first": {"train.steps": 100_000}, "second": {}})
        # What the tests' own shell ignores, the sweep would too.
        heard = functools.partial(signal.signal, number, signal.SIG_DFL)
        process = start(file, f"--workdir={tmp_path}", *MORE, preexec_fn=heard)
        log = tmp_path / "first" / "metrics.jsonl"
        wait_for(lambda: log.exists() and log.read_text().count("\n") >= 3)

        def ended():
            # Again, as a user would: in a callback of the garbage collector, as JAX has one, Python
            # ignores a KeyboardInterrupt.
            process.send_signal(number)
            time.sleep(2)
            return process.poll() is not None

        wait_for(ended)
        out, err = process.communicate()
        assert process.returncode == status, out + err
        assert "stopped at first: start the sweep again to go on" in out
        assert not (tmp_path / "second").exists()


POINTS = {"base": {}, "wide": {"model.latent_channels": 128}}
MISTAKES = {
    "no such file": (None, ["--list"], ["sweep.json'", "launch/sweeps/digits.json"]),
    "not JSON": ("{", ["--list"], ["is not a sweep", "line 1 column 2"]),
    "not a sweep": ("[]", ["--list"], ["give an object of about, config"]),
    "a point twice": (
        '{"points": {"a": {}, "a": {"train.steps": 2}}}',
        ["--list"],
        ["'a' is there twice"],
    ),
    "not a number": ('{"points": {"a": {"x.y": NaN}}}', ["--list"], ["NaN is not JSON"]),
    "unknown key": ({"point": {}}, ["--list"], ["unknown key 'point'", "'points'"]),
    "key of another type": ({"overrides": []}, ["--list"], ["'overrides' is []"]),
    "no points": ({"points": {}}, ["--list"], ["'points' is empty"]),
    "unknown config": ({"config": "configs/digit.py"}, ["--list"], ["'configs/digits.py'"]),
    "no config but what they share": (
        {"config": "configs/base.py"},
        ["--list"],
        ["unknown config 'configs/base.py'"],
    ),
    "a name with a slash": ({"points": {"../a": {}}}, ["--list"], ["'../a' can't name"]),
    "a name like a flag": ({"points": {"-a": {}}}, ["--list"], ["'-a' can't name"]),
    "a name like a number": ({"points": {"12": {}}}, ["--list"], ["'12' can't name"]),
    "a flag for a key": (
        {"points": {"a": {"--config.train.steps": 2}}},
        ["--list"],
        ["point a", "'--config.train.steps'", "as in train.steps"],
    ),
    "a value of no flag": (
        {"points": {"a": {"train.steps": None}}},
        ["--list"],
        ["point a", "train.steps=null"],
    ),
    "unknown point": ({}, ["--list", "--only=wid"], ["unknown point 'wid'", "'wide'", "0 to 1"]),
    "unknown number": ({}, ["--list", "--only=2"], ["unknown point '2'", "0 to 1"]),
    "an empty workdir": ({}, ["--workdir="], ["--workdir=DIR is missing"]),
    "no workdir": ({}, [], ["--workdir=DIR is missing"]),
    "unknown flag": ({}, ["--onyl=base"], ["--onyl=base"]),
    "its own flag behind --": (
        {},
        ["--workdir={tmp}/runs", "--", "--workdir=x"],
        ["--workdir=x is the sweep's to give"],
    ),
    "a file in the place of the workdir": (
        {},
        ["--workdir={tmp}/sweep.json"],
        ["--workdir={tmp}/sweep.json can't be made"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_in_one_line(name, tmp_path):
    content, arguments, said = MISTAKES[name]
    file = tmp_path / "sweep.json"
    if isinstance(content, dict):
        write(file, **({"points": POINTS} | content))
    elif content is not None:
        file.write_text(content)
    out, err = sweep(file, *(a.format(tmp=tmp_path) for a in arguments), status=2)
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    for words in said:
        assert words.format(tmp=tmp_path) in line
    assert not out
    assert not (tmp_path / "runs").exists()


def test_a_python_without_jax_is_told_once(tmp_path):
    """-S leaves out what is installed."""
    file = write(tmp_path / "sweep.json", POINTS)
    arguments = (file, f"--workdir={tmp_path}/runs")
    _, err = sweep(*arguments, python=(sys.executable, "-S"), status=2)
    assert "has no jax" in err
    assert len(err.splitlines()) == 1


def test_list_prints_number_name_and_overrides(tmp_path):
    out, _ = sweep(write(tmp_path / "sweep.json", POINTS), "--list")
    assert out.splitlines() == [
        "of a test",
        "  0  base  (no changes)",
        "  1  wide  model.latent_channels=128",
    ]


def test_a_shipped_sweep_is_found_from_another_folder(tmp_path):
    here, there = (
        sweep("launch/sweeps/digits.json", "--list", cwd=folder) for folder in (ROOT, tmp_path)
    )
    assert there == here
    write(tmp_path / "own.json", POINTS)
    assert "of a test" in sweep("own.json", "--list", cwd=tmp_path)[0]


def test_only_configs_are_offered(tmp_path):
    file = write(tmp_path / "sweep.json", POINTS, config="zzz")
    _, err = sweep(file, "--list", status=2)
    offered = re.findall(r"'(configs/\w+\.py)'", err)
    assert offered == [str(path.relative_to(ROOT)) for path in config_files()]


def test_help_shows_commands_and_every_status():
    out, _ = sweep("--help")
    for status in ("75 stopped by SIGTERM", "129 stopped by SIGHUP", "130 by Ctrl-C"):
        assert status in " ".join(out.split())
    assert "python launch/sweep.py launch/sweeps/digits.json --workdir=" in out
    assert "--only=$SLURM_ARRAY_TASK_ID" in out
