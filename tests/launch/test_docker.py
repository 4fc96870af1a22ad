"""Checks the Dockerfiles without a Docker daemon: their instructions, not the images."""

import fnmatch
import json
import re
import shlex
import subprocess

import pytest
from packaging.specifiers import SpecifierSet

from tests.packaging.project import EXTRAS, PROJECT
from tests.processes import ROOT

FILES = sorted((ROOT / "launch" / "docker").glob("Dockerfile.*"))
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]


def instructions(file):
    """Returns (NAME, arguments) of each instruction, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def arguments(file, name):
    return [rest for instruction, rest in instructions(file) if instruction == name]


def reaches_an_image(path):
    """Returns whether .dockerignore admits a top-level path; the last matching line decides."""
    admitted = True
    for line in IGNORED:
        if fnmatch.fnmatch(path, line.removeprefix("!")):
            admitted = line.startswith("!")
    return admitted


def test_there_is_one_file_per_kind_of_machine():
    assert [file.name for file in FILES] == ["Dockerfile.cpu", "Dockerfile.gpu"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
class TestDockerfile:
    def test_base_image_has_a_supported_python(self, file):
        (base,) = arguments(file, "FROM")
        version = re.fullmatch(r"python:(\d+\.\d+)-slim", base).group(1)
        assert SpecifierSet(PROJECT["requires-python"]).contains(version)

    def test_commands_are_valid_shell(self, file):
        for command in arguments(file, "RUN"):
            subprocess.run(["sh", "-n", "-c", command], check=True)

    def test_installs_declared_extras_at_the_tested_versions(self, file):
        (pip,) = [run for run in arguments(file, "RUN") if "pip install" in run]
        words = shlex.split(pip[pip.index("pip install") :])
        assert words[-2:] == ["-c", "constraints.txt"]
        (extras,) = re.fullmatch(r"\.\[([\w,]+)\]", words[words.index("-e") + 1]).groups()
        assert set(extras.split(",")) <= set(EXTRAS)
        assert "train" in extras.split(",")
        assert ("gpu" in extras.split(",")) == file.name.endswith(".gpu")

    def test_copied_files_exist_and_are_not_ignored(self, file):
        first, everything = arguments(file, "COPY")
        assert everything == ". ."
        *sources, target = first.split()
        assert target == "./"
        assert {"setup.py", "pyproject.toml", "constraints.txt"} <= set(sources)
        for source in sources:
            assert (ROOT / source).is_file()
            assert reaches_an_image(source)

    def test_runs_as_a_user_other_than_root(self, file):
        names = [name for name, _ in instructions(file)]
        (user,) = arguments(file, "USER")
        assert user not in ("root", "0")
        assert any(
            f'useradd --create-home --uid "$UID" {user}' in x for x in arguments(file, "RUN")
        )
        assert names.index("USER") > max(i for i, x in enumerate(names) if x in ("RUN", "COPY"))

    def test_entry_point_is_the_trainer(self, file):
        """No shell starts the trainer: it would not pass SIGTERM on."""
        (entry,) = arguments(file, "ENTRYPOINT")
        assert json.loads(entry) == ["python", "-m", "experiments.train"]
        assert not arguments(file, "CMD")


def test_an_image_has_the_code_and_no_data_results_or_history():
    for folder in ("configs", "experiments", "perceiver", "launch"):
        assert (ROOT / folder).is_dir()
        assert reaches_an_image(folder)
    for private in (".git", ".venv", "data", "runs", ".env", "perceiver_jax.egg-info", "tests"):
        assert not reaches_an_image(private)
