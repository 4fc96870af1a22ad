"""Tests make and launch/local.sh.

Each make is a real process. Its PATH has a few tools and stand-ins for Python, which report a
version chosen by the test and install nothing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
TOOLS = ["sh", "bash", "cat", "head", "rm", "mkdir", "cp", "awk", "find", "dirname"]

# Arguments that a shell would split or expand.
AWKWARD = ["two words", "'", '"', "$HOME", "`id`", "*", "; touch taken", "", "-n", "--", "a=b c"]

STAND_IN = """#!/bin/sh
# Stand-in for Python {version}. It logs its arguments; `pip` exits with the status in pip-status.
echo "$*" >> "{log}"
case "$1 $2" in
  "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip") exit "$(cat "{pip_status}")" ;;
  "-c "*) exec "{real}" -I -c "{pretend}; exec(sys.argv[1])" "$2" ;;
esac
"""
PRETEND = "import sys; sys.version_info = {version}; sys.modules.update(dict.fromkeys({hide}))"


class Checkout:
    """A checkout in a folder whose name has a space, and a PATH without Python."""

    def __init__(self, folder):
        self.folder = folder / "my checkout"
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.pip_status = folder / "pip-status"
        self.bin.mkdir()
        self.log.touch()
        self.pip_status.write_text("0")
        (self.folder / "launch").mkdir(parents=True)
        for name in ["Makefile", "pyproject.toml", "constraints.txt", "launch/local.sh"]:
            shutil.copy(ROOT / name, self.folder / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def add_python(self, version, path, hide=()):
        path = self.bin / path
        path.parent.mkdir(exist_ok=True)
        text = STAND_IN.format(
            version=version,
            log=self.log,
            pip_status=self.pip_status,
            real=sys.executable,
            pretend=PRETEND.format(version=version, hide=list(hide)),
        )
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, *command, cwd=None):
        return subprocess.run(
            command,
            cwd=cwd or self.folder,
            env={"PATH": str(self.bin)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def make(self, *arguments):
        return self.run(MAKE, "--no-print-directory", *arguments)

    def calls(self, beginning):
        return [line for line in self.log.read_text().splitlines() if line.startswith(beginning)]

    def error(self, *arguments):
        """Returns the error line of the recipe; make itself prints one more line."""
        done = self.make(*arguments)
        assert done.returncode == 2
        recipe_line, make_line = done.stderr.splitlines()
        assert make_line.startswith((f"{MAKE}: ***", "make: ***"))
        return recipe_line


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_plain_make_lists_every_target(checkout):
    shown = checkout.make().stdout
    for target in ["help", "env", "train", "test", "test-all", "lint", "format", "clean"]:
        assert f"make {target} " in shown


def test_missing_python_is_an_error(checkout):
    line = checkout.error("train")
    assert "no python3" in line
    assert "apt install python3" in line


def test_too_old_python_is_an_error(checkout):
    checkout.add_python((3, 9, 18), "python3")
    line = checkout.error("test")
    assert "python3 is Python 3.9.18" in line
    assert "3.11, 3.12 or 3.13" in line


def test_too_new_python_is_an_error(checkout):
    checkout.add_python((3, 14, 0), "python3")
    assert "python3 is Python 3.14.0" in checkout.error("env")


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_python_without_venv_or_pip_is_an_error(checkout, module):
    checkout.add_python((3, 12, 1), "python3", hide=[module])
    line = checkout.error("env")
    assert "python3-venv" in line
    assert "python3.12-venv" in line
    assert not (checkout.folder / ".venv").exists()


def test_another_supported_python_replaces_a_too_old_default(checkout):
    checkout.add_python((3, 9, 18), "python3")
    checkout.add_python((3, 12, 1), "python3.12")
    done = checkout.make("env")
    assert done.returncode == 0, done.stderr
    assert "Python 3.12.1" in done.stdout


def test_train_and_test_run_in_a_new_environment(checkout):
    checkout.add_python((3, 11, 7), "python3")
    for target in ["train", "test"]:
        done = checkout.make(target)
        assert done.returncode == 0, done.stderr
    train = "-m experiments.train --config=configs/digits.py --workdir=runs/digits"
    maps = "-m experiments.attention_maps --workdir=runs/digits --example=0 --cross_attends=2"
    assert checkout.calls("-m experiments") == [train, f"{maps} --out=runs/digits/maps"]
    assert checkout.calls("-m pytest") == ["-m pytest -n 2 --dist worksteal -m not slow"]
    assert len(checkout.calls("-m pip")) == 1


def test_environment_is_made_once_and_updated_when_requirements_change(checkout):
    checkout.add_python((3, 11, 7), "python3")
    constraints = checkout.folder / "constraints.txt"
    for pips in [1, 1]:
        assert checkout.make("env").returncode == 0
        assert len(checkout.calls("-m pip")) == pips
    constraints.touch()  # a newer time, the same content
    assert checkout.make("env").returncode == 0
    assert len(checkout.calls("-m pip")) == 1
    constraints.write_text(constraints.read_text() + "# changed\n")
    assert checkout.make("env").returncode == 0
    assert len(checkout.calls("-m pip")) == 2
    assert len(checkout.calls("-m venv")) == 1


def test_another_python_makes_a_new_environment(checkout):
    checkout.add_python((3, 11, 7), "python3")
    checkout.add_python((3, 12, 1), "python3.12")
    for _ in range(2):
        assert checkout.make("env").returncode == 0
    assert len(checkout.calls("-m venv")) == 1
    for _ in range(2):
        assert checkout.make("env", "PYTHON=python3.12").returncode == 0
    assert len(checkout.calls("-m venv")) == 2


def test_incomplete_installation_is_repeated(checkout):
    checkout.add_python((3, 11, 7), "python3")
    checkout.pip_status.write_text("1")
    for _ in range(2):
        assert "pip could not install" in checkout.error("train")
    assert checkout.calls("-m experiments") == []
    checkout.pip_status.write_text("0")
    assert checkout.make("train").returncode == 0
    assert len(checkout.calls("-m venv")) == 3


def test_path_of_python_may_have_spaces(checkout):
    python = checkout.add_python((3, 13, 0), "my pythons/python3")
    done = checkout.make("env", f"PYTHON={python}")
    assert done.returncode == 0, done.stderr


def test_name_of_python_is_not_expanded_by_a_shell(checkout):
    line = checkout.error("env", "PYTHON=python3; touch taken")
    assert "no python3; touch taken" in line
    assert not (checkout.folder / "taken").exists()


def test_clean_keeps_results(checkout):
    for path in [".venv/x", "perceiver/__pycache__/x", "runs/a/__pycache__/x"]:
        (checkout.folder / path).parent.mkdir(parents=True)
        (checkout.folder / path).touch()
    assert checkout.make("clean").returncode == 0
    assert not (checkout.folder / ".venv").exists()
    assert not (checkout.folder / "perceiver/__pycache__").exists()
    assert (checkout.folder / "runs/a/__pycache__/x").exists()


def test_local_launcher_passes_arguments_unchanged(checkout):
    python = checkout.folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PWD"\nprintf \'<%s>\\n\' "$@"\nexit 7\n')
    python.chmod(0o755)
    done = checkout.run(checkout.folder / "launch/local.sh", *AWKWARD, cwd=os.sep)
    folder, *arguments = done.stdout.splitlines()
    assert done.returncode == 7
    assert Path(folder).samefile(checkout.folder)
    assert arguments == ["<-m>", "<experiments.train>", *(f"<{word}>" for word in AWKWARD)]


def test_local_launcher_without_environment_is_an_error(checkout):
    done = checkout.run(checkout.folder / "launch/local.sh")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "make env" in done.stderr
