"""The command line of sweeps: errors, and output without training."""

import re

import pytest

from experiments.cli.config_files import config_files
from tests.launch.sweeps import sweep, write
from tests.processes import ROOT

POINTS = {"base": {}, "wide": {"model.latent_channels": 128}}
USER_ERRORS = {
    "no such file": (None, ["--list"], ["sweep.json'", "launch/sweeps/digits.json", "KEY=VALUES"]),
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
    "the base of all configs": (
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
    "a null value": (
        {"points": {"a": {"train.steps": None}}},
        ["--list"],
        ["point a", "train.steps=null"],
    ),
    "unknown point": ({}, ["--list", "--only=wid"], ["unknown point 'wid'", "'wide'", "0 to 1"]),
    "unknown number": ({}, ["--list", "--only=2"], ["unknown point '2'", "0 to 1"]),
    "an empty workdir": ({}, ["--workdir="], ["--workdir=DIR is missing"]),
    "no workdir": ({}, [], ["--workdir=DIR is missing"]),
    "unknown flag": ({}, ["--onyl=base"], ["--onyl=base", "--help"]),
    "a flag of the sweep behind --": (
        {},
        ["--workdir={tmp}/runs", "--", "--workdir=x"],
        ["--workdir=x is the sweep's to give"],
    ),
    "a file as workdir": (
        {},
        ["--workdir={tmp}/sweep.json"],
        ["--workdir={tmp}/sweep.json can't be written"],
    ),
    "a misspelled flag": (
        None,
        ["--sweep=model.num_latents=8", "--config=configs/digits.py", "--list", "--drws=1"],
        ["--drws=1"],
    ),
    "a line without a config": (None, ["--sweep=model.num_latents=8", "--list"], ["--config=FILE"]),
    "a point that sets a swept key": (
        {"points": {"a": {"train.seed": 1}}, "grid": {"train.seed": [1, 2]}},
        ["--list"],
        ["point a sets train.seed"],
    ),
    "a value twice": ({"grid": {"train.seed": [1, "1"]}}, ["--list"], ["has the value 1 twice"]),
    "a grid of one value": ({"grid": {"train.seed": 3}}, ["--list"], ["train.seed", "[8, 16]"]),
    "a list in place of a distribution": (
        {"random": {"train.seed": "1,2"}, "draws": 2},
        ["--list"],
        ["train.seed is '1,2'", "'uniform(0,1)'"],
    ),
    "draws without a number": (
        {"random": {"a.b": "uniform(0,1)"}},
        ["--list"],
        ["--draws=N is missing"],
    ),
    "draws without a distribution": ({}, ["--list", "--draws=3"], ["nothing to draw"]),
    "no draws": ({"draws": 0}, ["--list"], ["'draws' is 0"]),
    "too many points": ({"grid": {"a.b": "1..6000"}}, ["--list"], ["12,000 points are more than"]),
    "no parallel points": ({}, ["--workdir=x", "--parallel=0"], ["--parallel=0"]),
    "negative retries": ({}, ["--workdir=x", "--retries=-1"], ["--retries=-1"]),
    "unknown launcher": ({}, ["--workdir=x", "--launcher=ssh"], ["'ssh'", "'slurm'"]),
    "pods with another launcher": ({}, ["--workdir=x", "--pods=a"], ["--pods=a is for"]),
    "no pods": ({}, ["--workdir=x", "--launcher=tpu"], ["--pods=", "as in --pods=one,two"]),
    "more points at once than pods": (
        {},
        ["--workdir=x", "--launcher=tpu", "--pods=a,b", "--parallel=3"],
        ["each of 2 pods"],
    ),
    "sbatch flags with another launcher": (
        {},
        ["--workdir=x", "--sbatch=--gpus=1"],
        ["--sbatch=--gpus"],
    ),
}


@pytest.mark.parametrize("name", USER_ERRORS)
def test_a_user_error_is_one_line(name, tmp_path):
    content, arguments, messages = USER_ERRORS[name]
    file = tmp_path / "sweep.json"
    if isinstance(content, dict):
        write(file, **({"points": POINTS} | content))
    elif content is not None:
        file.write_text(content)
    if not any(x.startswith("--sweep=") for x in arguments):
        arguments = [f"--sweep={file}", *arguments]
    out, err = sweep(*(a.format(tmp=tmp_path) for a in arguments), status=2, cwd=tmp_path)
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    for words in messages:
        assert words.format(tmp=tmp_path) in line
    assert not out
    assert not (tmp_path / "runs").exists()


def test_a_python_without_jax_is_one_line(tmp_path):
    """-S hides the installed packages."""
    file = write(tmp_path / "sweep.json", POINTS)
    arguments = (f"--sweep={file}", f"--workdir={tmp_path}/runs")
    _, err = sweep(*arguments, python_options=("-S",), status=2)
    assert "has no jax" in err
    assert len(err.splitlines()) == 1


def test_list_prints_number_name_and_overrides(tmp_path):
    out, _ = sweep(f"--sweep={write(tmp_path / 'sweep.json', POINTS)}", "--list")
    assert out.splitlines() == [
        "of a test",
        "  0  base  (no changes)",
        "  1  wide  model.latent_channels=128",
    ]


def test_a_shipped_sweep_is_found_from_another_folder(tmp_path):
    shipped = ("--sweep=launch/sweeps/digits.json", "--list")
    here, there = (sweep(*shipped, cwd=folder) for folder in (ROOT, tmp_path))
    assert there == here
    write(tmp_path / "own.json", POINTS)
    assert "of a test" in sweep("--sweep=own.json", "--list", cwd=tmp_path)[0]


def test_suggestions_are_configs(tmp_path):
    file = write(tmp_path / "sweep.json", POINTS)
    _, err = sweep(f"--sweep={file}", "--list", "--config=zzz", status=2)
    offered = re.findall(r"'(configs/\w+\.py)'", err)
    assert offered == [str(path.relative_to(ROOT)) for path in config_files()]


def test_help_shows_commands_and_every_status():
    out, _ = sweep("--help")
    for status in ("75 stopped by SIGTERM", "129 stopped by SIGHUP", "130 by Ctrl-C"):
        assert status in " ".join(out.split())
    assert "python -m launch.sweep --sweep=launch/sweeps/digits.json --workdir=" in out
