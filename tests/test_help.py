"""--help of every program: a description, an example to copy, and the flags."""

import os
import re
import subprocess
import sys

import pytest

from tests.processes import ROOT, start

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
# Programs that take the config from the run in --workdir.
WITHOUT_CONFIG = ("attention_maps", "export", "predict", "report")
# A flag, as this project and argparse write it, and its description on the same or next line.
FLAG = re.compile(
    r"^  (?:-\w, |-\w \S+, )?--(?:\[no\])?([\w-]+)(?:: (.+)|(?: [^\n]*?)??(?:  +|\n {8,})(\S.*))$",
    re.MULTILINE,
)


def started(program, *arguments):
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


def test_the_programs_are_found():
    assert {"train", "evaluate", "prepare_data", "benchmark", "report"} <= {*PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program(program):
    status, out, err = started(program, "--help")
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
def test_a_subcommand(program, word):
    status, out, err = started(program, word, "--help")
    assert (status, err) == (0, "")
    _, listed = check(out, f"python -m experiments.{program} {word}")
    assert listed


def test_help_is_quick_and_asks_for_no_tensorflow():
    """It needs a fresh process: the copies of `Mains` have imported TensorFlow."""
    code = (
        "import runpy, sys\n"
        "sys.argv[:] = ['train', '--help']\n"
        "try:\n"
        "    runpy.run_module('experiments.' + sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(end.code, 'tensorflow' in sys.modules)\n"
    )
    for program in ("train", "prepare_data"):
        done = subprocess.run(
            [sys.executable, "-c", code.replace("train", program)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.endswith("0 False\n")


def test_the_sweep():
    done = subprocess.run(
        [sys.executable, "-m", "launch.sweep", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    check(done.stdout, "python -m launch.sweep")


@pytest.mark.parametrize("asked", ["-h", "--help"])
@pytest.mark.parametrize("script", ["local.sh", "slurm.sbatch", "tpu_pod.sh", "tpu_worker.sh"])
def test_a_script(script, asked, tmp_path):
    """It works from any folder and leaves no file behind."""
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        ["bash", ROOT / "launch" / script, asked],
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
