"""What tests of faults share: mains that start at once, and what another user may not read."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.data.conftest import add_pictures, folder_options
from tests.experiments.processes import kill_all
from tests.faults.mains import Mains

__all__ = ["add_pictures", "folder_options"]

NOBODY = 65534


@pytest.fixture(autouse=True)
def nothing_left_running():
    """Kills the processes that a test has left behind; one that fails may."""
    yield
    kill_all()


@pytest.fixture(scope="session")
def mains(tmp_path_factory):
    """Runs mains of `experiments` on 8 CPU devices."""
    started = Mains(tmp_path_factory.mktemp("mains"), devices=8)
    yield started
    started.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def public_folder():
    """A folder that every user may enter and write to; those of pytest are its user's alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.fixture
def closed():
    """A context in which a path may not be read, whoever runs the tests: for root, as nobody."""

    @contextlib.contextmanager
    def close(path):
        mode, root = path.stat().st_mode, os.geteuid() == 0
        path.chmod(0)
        if root:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
            path.chmod(mode)

    return close
