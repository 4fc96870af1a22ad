"""What all tests may use: real data, where there are any; and what processes have compiled."""

import os
import pathlib
import shutil
import tempfile

import pytest

_REPOSITORY = pathlib.Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Makes a folder in which the processes of one session keep the programs they compile.

    Half of a short run of `experiments.train` is the compilation of what another test has compiled
    before. `tests.experiments.processes` uses it; tests do without. Workers of xdist have the
    variable from the process that starts them.
    """
    if hasattr(config, "workerinput"):
        return
    folder = tempfile.mkdtemp(prefix="perceiver-tests-compiled-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["PERCEIVER_TEST_COMPILED"] = folder


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real files: $PERCEIVER_TEST_DATA, else shared/data beside the checkout."""
    folder = os.environ.get("PERCEIVER_TEST_DATA") or _REPOSITORY.parent / "shared" / "data"
    if not pathlib.Path(folder).is_dir():
        pytest.skip(f"no real data in {folder}: set PERCEIVER_TEST_DATA to a folder that has them")
    return pathlib.Path(folder)
