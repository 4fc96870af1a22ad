"""What a newcomer types first: make, launch/local.sh, and the requirements they install.

The makes are real processes. They find only the few tools linked into a folder of the test, and
Pythons that are stand-ins: each reports a version of our choice and installs nothing.
"""

import ast
import os
import runpy
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
TOOLS = ["sh", "bash", "cat", "head", "rm", "mkdir", "cp", "awk", "find", "dirname"]

# Arguments that a shell would take apart, were they ever handed to one.
AWKWARD = ["two words", "'", '"', "$HOME", "`id`", "*", "; touch taken", "", "-n", "--", "a=b c"]

STAND_IN = """#!/bin/sh
# Stands in for Python {version}: it notes how it was called, and `pip` ends as pip-status says.
echo "$*" >> "{log}"
case "$1 $2" in
  "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip") exit "$(cat "{pip_status}")" ;;
  "-c "*) exec "{real}" -I -c "{pretend}; exec(sys.argv[1])" "$2" ;;
esac
"""
PRETEND = "import sys; sys.version_info = {version}; sys.modules.update(dict.fromkeys({hide}))"


class Checkout:
    """A checkout in a folder with a space, and a PATH without any Python."""

    def __init__(self, folder):
        self.folder = folder / "my checkout"
        self.bin = folder / "bin"
        self.log = folder / "log"
        self.pip_status = folder / "pip-status"
        self.bin.mkdir()
        self.log.touch()
        self.pip_status.write_text("0")
        (self.folder / "launch").mkdir(parents=True)
        for name in ["Makefile", "setup.py", "constraints.txt", "launch/local.sh"]:
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

    def refusal(self, *arguments):
        """The one line of ours that a failing make prints; the other is make's own."""
        done = self.make(*arguments)
        assert done.returncode == 2
        ours, its_own = done.stderr.splitlines()
        assert its_own.startswith((f"{MAKE}: ***", "make: ***"))
        return ours


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_plain_make_lists_every_target(checkout):
    shown = checkout.make().stdout
    for target in ["help", "env", "train", "test", "test-all", "lint", "format", "clean"]:
        assert f"make {target} " in shown


def test_no_python(checkout):
    line = checkout.refusal("train")
    assert "no python3" in line
    assert "apt install python3" in line


def test_python_too_old(checkout):
    checkout.add_python((3, 9, 18), "python3")
    line = checkout.refusal("test")
    assert "python3 is Python 3.9.18" in line
    assert "3.11, 3.12 or 3.13" in line


def test_python_too_new_for_the_pinned_libraries(checkout):
    checkout.add_python((3, 14, 0), "python3")
    assert "python3 is Python 3.14.0" in checkout.refusal("env")


@pytest.mark.parametrize("lacking", ["venv", "ensurepip"])
def test_python_without_venv_or_pip(checkout, lacking):
    checkout.add_python((3, 12, 1), "python3", hide=[lacking])
    line = checkout.refusal("env")
    assert "python3-venv" in line
    assert "python3.12-venv" in line
    assert not (checkout.folder / ".venv").exists()


def test_a_newer_python_beside_an_old_one_is_taken(checkout):
    checkout.add_python((3, 9, 18), "python3")
    checkout.add_python((3, 12, 1), "python3.12")
    done = checkout.make("env")
    assert done.returncode == 0, done.stderr
    assert "Python 3.12.1" in done.stdout


def test_train_and_test_run_in_the_new_environment(checkout):
    checkout.add_python((3, 11, 7), "python3")
    for target in ["train", "test"]:
        done = checkout.make(target)
        assert done.returncode == 0, done.stderr
    train = "-m experiments.train --config=configs/digits.py --workdir=runs/digits"
    maps = "-m experiments.attention_maps --workdir=runs/digits --example=0 --cross_attends=2"
    assert checkout.calls("-m experiments") == [train, f"{maps} --out=runs/digits/maps"]
    assert checkout.calls("-m pytest") == ["-m pytest -n 2 --dist loadfile -m not slow"]
    assert len(checkout.calls("-m pip")) == 1


def test_environment_is_made_once_and_follows_the_requirements(checkout):
    checkout.add_python((3, 11, 7), "python3")
    constraints = checkout.folder / "constraints.txt"
    for pips in [1, 1]:
        assert checkout.make("env").returncode == 0
        assert len(checkout.calls("-m pip")) == pips
    constraints.touch()  # newer, but the same
    assert checkout.make("env").returncode == 0
    assert len(checkout.calls("-m pip")) == 1
    constraints.write_text(constraints.read_text() + "# changed\n")
    assert checkout.make("env").returncode == 0
    assert len(checkout.calls("-m pip")) == 2
    assert len(checkout.calls("-m venv")) == 1


def test_another_python_means_another_environment(checkout):
    checkout.add_python((3, 11, 7), "python3")
    checkout.add_python((3, 12, 1), "python3.12")
    for _ in range(2):
        assert checkout.make("env").returncode == 0
    assert len(checkout.calls("-m venv")) == 1
    for _ in range(2):
        assert checkout.make("env", "PYTHON=python3.12").returncode == 0
    assert len(checkout.calls("-m venv")) == 2


def test_half_finished_installation_is_not_taken_for_done(checkout):
    checkout.add_python((3, 11, 7), "python3")
    checkout.pip_status.write_text("1")
    for _ in range(2):
        assert "pip could not install" in checkout.refusal("train")
    assert checkout.calls("-m experiments") == []
    checkout.pip_status.write_text("0")
    assert checkout.make("train").returncode == 0
    assert len(checkout.calls("-m venv")) == 3


def test_path_of_python_with_spaces(checkout):
    python = checkout.add_python((3, 13, 0), "my pythons/python3")
    done = checkout.make("env", f"PYTHON={python}")
    assert done.returncode == 0, done.stderr


def test_name_of_python_is_not_run_by_a_shell(checkout):
    line = checkout.refusal("env", "PYTHON=python3; touch taken")
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


def test_local_launcher_hands_arguments_on_untouched(checkout):
    python = checkout.folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PWD"\nprintf \'<%s>\\n\' "$@"\nexit 7\n')
    python.chmod(0o755)
    done = checkout.run(checkout.folder / "launch/local.sh", *AWKWARD, cwd=os.sep)
    where, *arguments = done.stdout.splitlines()
    assert done.returncode == 7
    assert Path(where).samefile(checkout.folder)
    assert arguments == ["<-m>", "<experiments.train>", *(f"<{word}>" for word in AWKWARD)]


def test_local_launcher_without_environment(checkout):
    done = checkout.run(checkout.folder / "launch/local.sh")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "make env" in done.stderr


# -- requirements ---------------------------------------------------------------------------------

# Where a package is not imported by the name it is installed under.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "google": "protobuf",
    "haiku": "dm-haiku",
    "orbax": "orbax-checkpoint",
    "sklearn": "scikit-learn",
    "tensorflow": "tensorflow-cpu",
    "tree": "dm-tree",
    "yaml": "pyyaml",
}
PYTHONS = ["3.11", "3.12", "3.13"]
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}


@pytest.fixture
def declared(monkeypatch):
    """The arguments of setup()."""
    arguments = {}
    monkeypatch.setattr(setuptools, "setup", arguments.update)
    runpy.run_path(str(ROOT / "setup.py"))
    return arguments


def names(requirements):
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def imports(node, inside_function=False):
    """Yields (top-level module, whether it is imported only when a function runs)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name.split(".")[0], inside_function) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and not child.level:
            yield child.module.split(".")[0], inside_function
        in_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield from imports(child, inside_function or in_function)


def test_every_import_is_declared(declared):
    always = names(declared["install_requires"])
    optional = always.union(*map(names, declared["extras_require"].values()))
    known = {*sys.stdlib_module_names, "perceiver", "experiments", "configs"}
    undeclared = []
    for room in ["perceiver", "experiments", "configs"]:
        for path in sorted((ROOT / room).rglob("*.py")):
            for module, inside_function in imports(ast.parse(path.read_text())):
                distribution = canonicalize_name(DISTRIBUTIONS.get(module, module))
                allowed = optional if inside_function else always
                if module not in known and distribution not in allowed:
                    undeclared.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not undeclared


def applicable(lines, **where):
    """The requirements that hold on this machine, or where it is said."""
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": "", **where}):
            yield requirement


def pins(**where):
    """The version that constraints.txt gives each name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = list(applicable((line for line in lines if not line.startswith("#")), **where))
    versions = {}
    for pin in found:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        versions[canonicalize_name(pin.name)] = specifier.version
    assert len(versions) == len(found), "a name is pinned twice"
    return versions


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_pin_in_its_range(declared, python):
    extras = declared["extras_require"]
    wanted = declared["install_requires"] + extras["dev"] + extras["data"] + extras["tensorboard"]
    where = {**LINUX, "python_version": python}
    for requirement in applicable(wanted, **where):
        assert requirement.specifier.contains(pins(**where)[canonicalize_name(requirement.name)])


def test_what_requirements_require_is_pinned_too(declared):
    pinned = pins()
    extras = declared["extras_require"]
    required = declared["install_requires"] + extras["data"] + extras["dev"]
    waiting = [(requirement, "") for requirement in applicable(required)]
    seen = set()
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in pinned
        # Of another version than the pinned, the needs may be others.
        if (name, extra) not in seen and metadata.version(name) == pinned[name]:
            seen.add((name, extra))
            for needed in applicable(metadata.requires(name) or [], extra=extra):
                waiting += [(needed, of_needed) for of_needed in ("", *needed.extras)]
