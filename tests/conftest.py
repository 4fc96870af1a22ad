"""What all tests may use: real data, where there are any."""

import os
import pathlib

import pytest

_REPOSITORY = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real files: $PERCEIVER_TEST_DATA, else shared/data beside the checkout."""
    folder = os.environ.get("PERCEIVER_TEST_DATA") or _REPOSITORY.parent / "shared" / "data"
    if not pathlib.Path(folder).is_dir():
        pytest.skip(f"no real data in {folder}: set PERCEIVER_TEST_DATA to a folder that has them")
    return pathlib.Path(folder)
