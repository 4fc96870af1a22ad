"""Loading data sets by name, and imports without TensorFlow."""

import pathlib
import subprocess
import sys

import pytest

from perceiver.data import digits, registry
from perceiver.errors import InputError


def test_loads_by_name():
    assert registry.load("digits", image_size=8, channels=1).train.num_examples == 1437


def test_an_unknown_name_is_an_error_with_the_nearest_name_or_all():
    with pytest.raises(InputError, match="unknown data set 'imagefolder': did you mean 'image_fol"):
        registry.load("imagefolder")
    with pytest.raises(InputError) as raised:
        registry.load("cifar10")
    assert all(name in str(raised.value) for name in ("digits", "image_folder", "modelnet40"))


def test_options_are_checked_by_name():
    with pytest.raises(
        InputError, match="unknown digits option 'image_sise': did you mean 'image_size'"
    ):
        registry.load("digits", image_sise=8, channels=1)
    with pytest.raises(InputError, match="lacks its option image_size, channels"):
        registry.load("digits")


def test_a_loader_that_a_program_adds_is_found(monkeypatch):
    monkeypatch.setitem(registry.LOADERS, "mine", digits.load)
    assert registry.load("mine", image_size=8, channels=1).eval.num_examples == 360


@pytest.mark.parametrize("module", ["registry", "dataset", "single_files", "errors"])
def test_the_entry_points_import_without_tensorflow(module):
    program = f"import sys, perceiver.data.{module}; sys.exit('tensorflow' in sys.modules)"
    repository = pathlib.Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, check=False)
    assert done.returncode == 0
