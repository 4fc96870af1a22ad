"""The Dockerfiles, as far as can be told without a Docker daemon: they are not built here."""

import fnmatch
import json
import re
import runpy
import shlex
import subprocess

import pytest
import setuptools
from packaging.specifiers import SpecifierSet

from tests.processes import ROOT

FILES = sorted((ROOT / "launch" / "docker").glob("Dockerfile.*"))
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]


def instructions(file):
    """(NAME, rest) of each, continued lines joined."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def of(file, name):
    return [rest for called, rest in instructions(file) if called == name]


@pytest.fixture
def declared(monkeypatch):
    """The arguments of setup()."""
    arguments = {}
    monkeypatch.setattr(setuptools, "setup", arguments.update)
    runpy.run_path(str(ROOT / "setup.py"))
    return arguments


def reaches_an_image(path):
    """Whether .dockerignore lets a top-level path through: its last line that matches decides."""
    kept = True
    for line in IGNORED:
        if fnmatch.fnmatch(path, line.removeprefix("!")):
            kept = line.startswith("!")
    return kept


def test_there_is_one_for_each_kind_of_machine():
    assert [file.name for file in FILES] == ["Dockerfile.cpu", "Dockerfile.gpu"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
class TestDockerfile:
    def test_its_python_is_one_that_the_project_supports(self, file, declared):
        (base,) = of(file, "FROM")
        version = re.fullmatch(r"python:(\d+\.\d+)-slim", base).group(1)
        assert SpecifierSet(declared["python_requires"]).contains(version)

    def test_its_commands_are_shell(self, file):
        for command in of(file, "RUN"):
            subprocess.run(["sh", "-n", "-c", command], check=True)

    def test_it_installs_what_setup_declares_at_the_versions_tested(self, file, declared):
        (pip,) = [run for run in of(file, "RUN") if "pip install" in run]
        words = shlex.split(pip[pip.index("pip install") :])
        assert words[-2:] == ["-c", "constraints.txt"]
        (extra,) = re.fullmatch(r"\.\[(\w+)\]", words[words.index("-e") + 1]).groups()
        assert extra in declared["extras_require"]
        assert (extra == "gpu") == file.name.endswith(".gpu")

    def test_what_it_copies_is_there_and_not_ignored(self, file):
        first, everything = of(file, "COPY")
        assert everything == ". ."
        *sources, target = first.split()
        assert target == "./"
        assert {"setup.py", "constraints.txt"} <= set(sources)
        for source in sources:
            assert (ROOT / source).is_file()
            assert reaches_an_image(source)

    def test_it_runs_as_a_user_who_is_not_root(self, file):
        names = [name for name, _ in instructions(file)]
        (user,) = of(file, "USER")
        assert user not in ("root", "0")
        assert any(f'useradd --create-home --uid "$UID" {user}' in x for x in of(file, "RUN"))
        assert names.index("USER") > max(i for i, x in enumerate(names) if x in ("RUN", "COPY"))

    def test_it_trains(self, file):
        """Without a shell in between, which would keep SIGTERM to itself."""
        (entry,) = of(file, "ENTRYPOINT")
        assert json.loads(entry) == ["python", "-m", "experiments.train"]
        assert not of(file, "CMD")


def test_an_image_has_the_rooms_and_no_data_results_or_history():
    for room in ("configs", "experiments", "perceiver", "launch"):
        assert (ROOT / room).is_dir()
        assert reaches_an_image(room)
    for private in (".git", ".venv", "data", "runs", ".env", "perceiver_jax.egg-info", "tests"):
        assert not reaches_an_image(private)
