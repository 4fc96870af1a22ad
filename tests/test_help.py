"""The --help of every program has a description, an example and all flags."""

import os
import re
import subprocess

import pytest

from tests.processes import ROOT, finish, start, start_python

PROGRAMS = sorted(
    [
        path.stem
        for path in (ROOT / "experiments").glob("*.py")
        if '\nif __name__ == "__main__":\n' in path.read_text()
    ]
    + [path.parent.name for path in (ROOT / "experiments").glob("*/__main__.py")]
)
SUBCOMMANDS = {
    "prepare_data": ("audioset", "clips", "modelnet", "imagenet"),
    "benchmark": ("forward", "step", "compile", "memory", "scaling", "data"),
}
# Programs that read the config from the run in --workdir.
WITHOUT_CONFIG = ("attention_maps", "export", "predict", "report")
# A flag in the style of this project or argparse, and its description on the same or next line.
FLAG = re.compile(
    r"^  (?:-\w, |-\w \S+, )?--(?:\[no\])?([\w-]+)(?:: (.+)|(?: [^\n]*?)??(?:  +|\n {8,})(\S.*))$",
    re.MULTILINE,
)


def finished(program, *arguments):
    """Runs a program to its end; returns its exit status, stdout and stderr."""
    process = start(program, *arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def check(out, command):
    """Checks the text of --help; returns its examples and flags."""
    examples = re.findall(rf"^ *(?:example: *)?({re.escape(command)}(?: .*)?)$", out, re.MULTILINE)
    assert examples, f"no example of {command} in\n{out}"
    first = out.removeprefix("usage:").strip().splitlines()
    assert any(re.match(r"[A-Z][a-z]+s\b.* .* .*", line) for line in first), "no description"
    flags = {name: (here or below).strip() for name, here, below in FLAG.findall(out)}
    listed = {*re.findall(r"^  (?:-\w, |-\w \S+, )?--(?:\[no\])?([\w-]+)", out, re.MULTILINE)}
    assert flags.keys() == listed
    for name, text in flags.items():
        assert re.search(r"[a-z]{2}", text), f"--{name} has no description"
    return examples, listed


def test_programs_are_found():
    assert {"train", "evaluate", "prepare_data", "benchmark", "report"} <= {*PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_of_a_program(program):
    status, out, err = finished(program, "--help")
    assert (status, err) == (0, "")
    examples, listed = check(out, f"python -m experiments.{program}")
    if program not in SUBCOMMANDS:
        used = {*re.findall(r"--(\w+)\b(?!\.)", " ".join(examples))}
        assert used <= listed | {"help"}
    if program in WITHOUT_CONFIG:
        assert "--config" not in out
        assert "configs:" not in out


@pytest.mark.parametrize(
    ("program", "word"), [(p, word) for p, words in SUBCOMMANDS.items() for word in words]
)
def test_help_of_a_subcommand(program, word):
    status, out, err = finished(program, word, "--help")
    assert (status, err) == (0, "")
    _, listed = check(out, f"python -m experiments.{program} {word}")
    assert listed


def test_help_does_not_import_tensorflow():
    """Uses fresh processes, because forks have imported TensorFlow."""
    code = (
        "import runpy, sys\n"
        "sys.argv[:] = ['train', '--help']\n"
        "try:\n"
        "    runpy.run_module('experiments.' + sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(end.code, 'tensorflow' in sys.modules)\n"
    )
    for program in ("train", "prepare_data"):
        out, _ = finish(start_python("-c", code.replace("train", program)))
        assert out.endswith("0 False\n")


def test_help_of_sweeps():
    out, err = finish(start_python("-m", "launch.sweep", "--help"))
    assert err == ""
    check(out, "python -m launch.sweep")


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("script", ["local.sh", "slurm.sbatch", "tpu_pod.sh", "tpu_worker.sh"])
def test_help_of_a_script(script, flag, tmp_path):
    """It works from any folder and leaves no file behind."""
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        ["bash", ROOT / "launch" / script, flag],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"^ +.*launch/{script} ", done.stdout, re.MULTILINE)
    assert "set -euo" not in done.stdout
    assert not [*home.iterdir()]
