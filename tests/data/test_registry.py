"""Data sets by name; errors that import without TensorFlow."""

import pathlib
import subprocess
import sys

import pytest

from perceiver.data import registry
from perceiver.data.errors import DataError


def test_loads_by_name():
    assert registry.load("digits", image_size=8, channels=1).train.num_examples == 1437


def test_an_unknown_name_is_answered_with_the_nearest_or_all():
    with pytest.raises(DataError, match="unknown data set 'imagefolder': did you mean 'image_fol"):
        registry.load("imagefolder")
    with pytest.raises(DataError) as raised:
        registry.load("cifar10")
    assert all(name in str(raised.value) for name in ("digits", "image_folder", "modelnet40"))


def test_options_are_checked_by_name():
    with pytest.raises(
        DataError, match="unknown digits option 'image_sise': did you mean 'image_size'"
    ):
        registry.load("digits", image_sise=8, channels=1)
    with pytest.raises(DataError, match="lacks its option image_size, channels"):
        registry.load("digits")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("image_folder", "train/<class>/"), ("modelnet40", "modelnet40_ply_hdf5_2048.zip")],
)
@pytest.mark.parametrize("made", [False, True])
def test_a_dir_that_is_none_is_answered_with_the_layout(
    name, shown, made, tmp_path, folder_options
):
    path = tmp_path / "nowhere"
    if made:
        path.write_text("a file in its place")
    options = folder_options
    if name == "modelnet40":
        options = {"num_points": 8, "scale": (1, 1), "translation": 0, "rotation": "none"}
    with pytest.raises(DataError) as raised:
        registry.load(name, dir=str(path), **options)
    assert str(path) in str(raised.value)
    assert shown in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_errors_import_without_tensorflow():
    program = "import sys, perceiver.data.errors; sys.exit('tensorflow' in sys.modules)"
    repository = pathlib.Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, check=False)
    assert done.returncode == 0
