"""Adds the networks of configs/ to the package; pyproject.toml has everything else."""

import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CHECKOUT = Path(__file__).parent


class BuildWithNetworks(build_py):
    """Writes networks.json into a built package; an editable one reads configs/ directly."""

    def run(self):
        """Copies the modules and writes the file."""
        super().run()
        if not self.editable_mode:
            command = [sys.executable, "-m", "configs.networks"]
            networks = subprocess.check_output(command, cwd=CHECKOUT)
            Path(self.build_lib, "perceiver/library/networks.json").write_bytes(networks)

    def get_source_files(self):
        """Returns the files of a source distribution, including configs/ for the build."""
        return super().get_source_files() + [str(file) for file in Path("configs").glob("*.py")]


setup(cmdclass={"build_py": BuildWithNetworks})
