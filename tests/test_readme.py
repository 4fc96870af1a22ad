"""The README's code runs, and what README and docs name is there."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.cli.config_files import all_configs

pytestmark = pytest.mark.usefixtures("quick_compilation")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def python_of(page):
    """Runs the page's Python, from its first line to its last; returns the names it leaves."""
    names = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL):
        exec(compile(code, page, "exec"), names)
    return names


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_run):
    """A folder in which digits were trained, by a short run of a tiny network."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(tiny_run, folder / "runs" / "digits")
    return folder


@pytest.fixture
def after_make_train(trained, monkeypatch):
    """That folder as the current one."""
    monkeypatch.chdir(trained)


def test_the_python_in_the_readme_runs(after_make_train):
    names = python_of("README.md")
    assert names["logits"].shape == (1, 10)


def test_the_python_in_the_page_on_the_library_runs(after_make_train):
    names = python_of("docs/library.md")
    assert names["untrained"].inputs["image"].shape == (224, 224, 3)
    assert names["features"].shape == (2, 4, 8)
    np.testing.assert_allclose(names["probabilities"].sum(-1), 1, rtol=1e-5)
    assert names["names"][0] in set("0123456789")
    assert 0.4 < names["odd"] <= 1
    assert names["where"].shape == (2, 8, 8)


def test_pages_with_python_are_run():
    """What tests/test_new_modality.py runs aside."""
    pages = [p for p in (ROOT / "docs").glob("*.md") if "```python" in p.read_text()]
    assert {p.name for p in pages} == {"library.md", "new_modality.md"}


def test_programs_named_are_there():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for program in re.findall(r"python -m ((?:experiments|launch)\.\w+)", page.read_text()):
            file = ROOT / f"{program.replace('.', '/')}.py"
            assert "__main__" in file.read_text(), f"{page.name} names {program}"


def test_configs_named_in_the_readme_are_there():
    named = set(re.findall(r"configs/\w+\.py", README)) - {"configs/NAME.py"}
    assert {n.removeprefix("configs/") for n in named} <= {
        f.name for f in (ROOT / "configs").glob("*.py")
    }
    for linked in re.findall(r"\]\(([\w/]+\.md)\)", README):
        assert (ROOT / linked).exists()


def test_keys_in_the_page_on_data_are_those_of_the_configs():
    """Every key of its tables is one of some config, and every key of a config is in the page."""
    page = (ROOT / "docs" / "data.md").read_text()
    tables = re.findall(r"\| key \| meaning \|\n.*\n((?:\|.*\n)+)", page)
    listed = {
        k
        for rows in tables
        for row in rows.splitlines()
        for k in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    keys = {key for name, config in all_configs() if "digits" not in name for key in config.data}
    assert listed <= keys
    for key in keys - {"name"}:
        assert f"`{key}`" in page or f"config.data.{key}" in page, key
