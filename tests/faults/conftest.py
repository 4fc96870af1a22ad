"""Fixtures of the fault tests: programs on 8 devices, small disks, unreadable files."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.data.conftest import add_pictures, folder_options
from tests.processes import kill_all, refusal, start

__all__ = ["add_pictures", "folder_options"]

NOBODY = 65534


@pytest.fixture(autouse=True)
def nothing_left_running():
    """Kills the processes that a failed test has left running."""
    yield
    kill_all()


class _Mains:
    """Runs programs on 8 CPU devices."""

    def __call__(self, program, *arguments):
        """Runs a program to its end; returns its exit status, stdout and stderr."""
        process = start(program, *arguments, devices=8)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def refusal(self, program, *arguments, user=None):
        """Runs a program that must end with a user error, see `tests.processes.refusal`."""
        return refusal(program, *arguments, user=user, devices=8)


@pytest.fixture(scope="session")
def mains():
    return _Mains()


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
    """A folder that every user may enter and write to, unlike the folders of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.fixture
def closed():
    """A context in which a path may not be read. As root, the process becomes user nobody."""

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
