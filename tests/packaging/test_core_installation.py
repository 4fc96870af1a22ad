"""Installs the library without extras in an empty environment and runs docs/library.md there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perceiver import library
from tests.processes import ROOT, TINY, run

pytestmark = pytest.mark.slow

CODE = re.findall(r"```python\n(.*?)```", (ROOT / "docs/library.md").read_text(), re.DOTALL)
# The section "Features" takes its images and its classifier from scikit-learn.
EXAMPLES = ["pictures = images[:1]\n" if "sklearn" in code else code for code in CODE]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment with the core installed from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("core")
    checkout = folder / "checkout"
    for name in ("perceiver", "configs"):
        shutil.copytree(ROOT / name, checkout / name)
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = ["-c", ROOT / "constraints.txt"]
    subprocess.run([*install, *constraints, "."], cwd=checkout, check=True)
    shutil.rmtree(checkout)
    return python


def run_code(python, code, folder):
    """Runs code in the environment and returns its output."""
    done = subprocess.run(
        [python, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_packages_for_training_are_absent(python, tmp_path):
    code = """
import importlib.util
for name in ("tensorflow", "ml_collections", "sklearn", "matplotlib", "configs", "experiments"):
    assert importlib.util.find_spec(name) is None, name
"""
    run_code(python, code, tmp_path)


def test_networks_are_those_of_the_configs(python, tmp_path):
    code = "from perceiver import library; print(*library.names())"
    assert run_code(python, code, tmp_path).split() == library.names()


def test_package_is_marked_as_typed(python, tmp_path):
    code = "import importlib.resources; print(importlib.resources.files('perceiver') / 'py.typed')"
    assert Path(run_code(python, code, tmp_path).strip()).is_file()


def test_examples_of_the_library_page_run(python, tmp_path):
    assert sum("sklearn" in code for code in CODE) == 1  # all other examples run
    run("train", *TINY, f"--workdir={tmp_path}/runs/digits")
    checks = """
assert untrained.inputs["image"].shape == (224, 224, 3)
assert features.shape == (2, 4, 8)
assert where.shape == (2, 8, 8)
assert len(parameters) > 0
np.testing.assert_allclose(outputs["probabilities"].sum(-1), 1, rtol=1e-5)
"""
    run_code(python, "\n".join([*EXAMPLES, checks]), tmp_path)
