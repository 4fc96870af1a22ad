"""Fixtures for all tests: real files, a finished run, and a folder for compiled programs."""

import gc
import itertools
import lzma
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.processes import TINY, run

_TESTS = pathlib.Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Makes a folder for compiled programs, and makes pytest list the reasons of skipped tests.

    Half of a short run of `experiments.train` is compilation that another test has done before.
    Only the processes that `tests.processes` starts use the folder. Workers of xdist inherit the
    environment variable.
    """
    if "s" not in config.option.reportchars:
        config.option.reportchars += "s"
    if hasattr(config, "workerinput"):
        return
    folder = tempfile.mkdtemp(prefix="perceiver-tests-compiled-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["PERCEIVER_TEST_COMPILED"] = folder


# Test modules after which compiled programs are dropped.
_MODULES_PER_CLEARING = 8
_modules = itertools.count(1)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Collects garbage less often, and never goes through the imported modules again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> Iterator[None]:
    """Drops compiled programs now and then.

    JAX keeps all programs with their source lines: gigabytes of small objects at the end of the
    tests. Each garbage collection then takes a minute.
    """
    yield
    if "jax" in sys.modules and next(_modules) % _MODULES_PER_CLEARING == 0:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def files() -> pathlib.Path:
    """The folder of real pictures, sounds and videos in the repository, see its README.md."""
    return _TESTS / "files"


@pytest.fixture(scope="session")
def audioset_metadata(files, tmp_path_factory) -> pathlib.Path:
    """A folder with AudioSet's lists of classes and segments."""
    folder = tmp_path_factory.mktemp("audioset_metadata")
    for path in (files / "audioset").glob("*.xz"):
        (folder / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
    return folder


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real files whose licence does not allow shipping them with the tests.

    It is $PERCEIVER_TEST_DATA, by default shared/data next to the checkout.
    """
    given = os.environ.get("PERCEIVER_TEST_DATA")
    folder = pathlib.Path(given or _TESTS.parents[1] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}: set PERCEIVER_TEST_DATA to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> pathlib.Path:
    """The workdir of a finished run of TINY. Tests must copy it before they change it."""
    workdir = tmp_path_factory.mktemp("tiny_run") / "run"
    run("train", *TINY, f"--workdir={workdir}")
    return workdir


@pytest.fixture(scope="session")
def open_decoders() -> Iterator[None]:
    """Leaves idle decoder processes open for the next test, because each takes seconds to start."""
    from perceiver.data.clips.preparation import decoder_process

    close = decoder_process.close_idle_decoders
    decoder_process.close_idle_decoders = lambda: None
    yield
    decoder_process.close_idle_decoders = close
    close()


@pytest.fixture
def quick_compilation() -> Iterator[None]:
    """Turns off XLA's optimisations, which take longer than a few steps."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
