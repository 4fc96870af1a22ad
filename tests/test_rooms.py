"""Checks the directions of imports, and that the model runs without TensorFlow."""

import ast
import shutil

import pytest

from tests.processes import ROOT, finish, start_python

_MODEL = {
    "tensorflow",
    "tensorflow_datasets",
    "optax",
    "orbax",
    "ml_collections",
    "perceiver.data",
    "perceiver.training",
    "experiments",
    "configs",
}
# The modules that a package must not import. `perceiver` stands for its top-level modules.
FORBIDDEN = {
    "configs": {"perceiver", "experiments", "jax", "haiku", "tensorflow"},
    "launch": {"perceiver", "experiments", "configs", "jax", "tensorflow"},
    "perceiver/data": {
        "jax",
        "haiku",
        "optax",
        "ml_collections",
        "perceiver.training",
        "experiments",
        "configs",
    },
    "perceiver/training": {
        "tensorflow",
        "tensorflow_datasets",
        "haiku",
        "ml_collections",
        "perceiver.data",
        "experiments",
        "configs",
    },
    "perceiver/library": {
        "tensorflow",
        "tensorflow_datasets",
        "ml_collections",
        "perceiver.data",
        "experiments",
        "configs",
    },
    "perceiver": _MODEL,
    "perceiver/attention": _MODEL,
    "perceiver/modalities": _MODEL,
    "perceiver/baselines": _MODEL,
    "experiments": {"tensorflow", "tensorflow_datasets", "tests"},
}


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_follow_the_order_of_the_data_flow_backwards(package):
    pattern = "*.py" if package == "perceiver" else "**/*.py"  # its packages have their own rows
    files = sorted((ROOT / package).glob(pattern))
    assert files or package == "launch"
    for file in files:
        for name in imports(file):
            for forbidden in FORBIDDEN[package]:
                assert not f"{name}.".startswith(f"{forbidden}."), f"{file} imports {name}"


def test_programs_do_not_import_other_programs():
    """Code that programs share is in experiments/cli, run and figures."""
    folder = ROOT / "experiments"
    shared = {"__init__", "cli", "run", "figures"}
    programs = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    programs -= shared | {"__pycache__"}
    assert {"train", "report"} <= programs
    for file in folder.glob("**/*.py"):
        own = file.relative_to(folder).parts[0].removesuffix(".py")
        for name in imports(file):
            parts = name.split(".")
            other = parts[1] if parts[0] == "experiments" and len(parts) > 1 else own
            assert other in shared | {own}, f"{file} imports {name}"


def test_model_step_and_model_table_run_without_tensorflow():
    program = """
import sys
sys.modules["tensorflow"] = sys.modules["tensorflow_datasets"] = None  # importing them fails

import jax, numpy as np
from experiments.cli.config_files import load_config
from experiments.run.from_config import from_config
from experiments.model_table.__main__ import table
from perceiver.training.parallel import DataParallel

config = load_config("configs/digits.py")
assert table(config)["total"]["parameters"] > 0
experiment = from_config(config, num_examples=1000)
devices = DataParallel()
step = devices.map(experiment.train_step())
state = devices.replicate(experiment.initial_state())
batch = {"image": np.ones((8, 8, 8, 1), np.uint8), "label": np.arange(8, dtype=np.int32)}
state, metrics = step(state, devices.shard(batch))
print("loss", float(devices.first(metrics)["loss"]))
"""
    out, err = finish(start_python("-c", program))
    assert "loss 2.30" in out, err


def test_the_library_runs_without_the_other_packages(tmp_path):
    """Installs quickly, without dependencies; tests/packaging/ installs them too."""
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    copy = tmp_path / "checkout"
    for folder in ("perceiver", "configs"):
        shutil.copytree(ROOT / folder, copy / folder)
    for file in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    finish(start_python(*install, "--target", tmp_path / "site", ".", cwd=copy))
    program = """
import sys
sys.path.insert(0, "site")
sys.modules.update(dict.fromkeys(("tensorflow", "ml_collections", "experiments", "configs")))

import numpy as np, perceiver
from perceiver import library
assert perceiver.__file__.startswith(sys.argv[1]), perceiver.__file__
classifier = library.build("digits")
print(classifier.probabilities(np.zeros([2, 8, 8, 1], np.uint8)).sum(-1).round(5))
"""
    out, err = finish(start_python("-c", program, tmp_path, cwd=tmp_path))
    assert out == "[1. 1.]\n", err
