"""Who may import whom, and that the model runs where TensorFlow is not installed."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

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
# What a room must not import. `perceiver` without more is the model.
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


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_point_back_along_the_way_of_a_batch(room):
    pattern = "*.py" if room == "perceiver" else "**/*.py"  # the model's rooms have their own rows
    files = sorted((ROOT / room).glob(pattern))
    assert files or room == "launch"
    for file in files:
        for name in imports(file):
            for forbidden in FORBIDDEN[room]:
                assert not f"{name}.".startswith(f"{forbidden}."), f"{file} imports {name}"


def test_model_step_and_table_run_without_tensorflow():
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
    out = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "loss 2.30" in out.stdout, out.stderr


def test_the_library_runs_installed_alone(tmp_path):
    """A quick install without dependencies; tests/packaging/ installs them as well."""
    installed = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    installed += ["--no-build-isolation", "--target", tmp_path / "site", "."]
    copy = tmp_path / "checkout"
    for folder in ("perceiver", "configs"):
        shutil.copytree(ROOT / folder, copy / folder)
    for file in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    subprocess.run(installed, cwd=copy, check=True)
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
    out = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.stdout == "[1. 1.]\n", out.stderr
