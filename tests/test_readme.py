"""The Python code of the pages runs, and the programs, configs, keys and links in them exist."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.cli.config_files import all_configs

pytestmark = pytest.mark.usefixtures("quick_compilation")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def run_python(page):
    """Runs the Python code of a page from top to bottom; returns the names that it defines."""
    names = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL):
        exec(compile(code, page, "exec"), names)
    return names


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_run):
    """A folder with the short run of a tiny network in runs/digits."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(tiny_run, folder / "runs" / "digits")
    return folder


@pytest.fixture
def after_make_train(trained, monkeypatch):
    """Makes that folder the current one, as after `make train`."""
    monkeypatch.chdir(trained)


def test_python_of_the_readme_runs(after_make_train):
    names = run_python("README.md")
    assert names["logits"].shape == (1, 10)


def test_python_of_the_library_page_runs(after_make_train):
    names = run_python("docs/library.md")
    assert names["untrained"].inputs["image"].shape == (224, 224, 3)
    assert names["features"].shape == (2, 4, 8)
    np.testing.assert_allclose(names["probabilities"].sum(-1), 1, rtol=1e-5)
    assert names["names"][0] in set("0123456789")
    assert 0.4 < names["odd"] <= 1
    assert names["where"].shape == (2, 8, 8)


def test_all_pages_with_python_are_run():
    """tests/test_new_modality.py and tests/test_paper_page.py check the other two."""
    pages = [p for p in (ROOT / "docs").glob("*.md") if "```python" in p.read_text()]
    assert {p.name for p in pages} == {"library.md", "new_modality.md", "paper.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_exist(page):
    for program in re.findall(r"python -m ((?:experiments|launch)\.\w+)", page.read_text()):
        path = ROOT / program.replace(".", "/")
        file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        assert "__main__" in file.read_text(), f"{page.name} names {program}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            file = page.parent / path if path else page
            assert file.is_file(), link
            assert not anchor or anchor in anchors(file), link


def anchors(page):
    """Returns the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_configs_of_the_readme_exist():
    named = set(re.findall(r"configs/\w+\.py", README)) - {"configs/NAME.py"}
    assert {n.removeprefix("configs/") for n in named} <= {
        f.name for f in (ROOT / "configs").glob("*.py")
    }
    for linked in re.findall(r"\]\(([\w/]+\.md)\)", README):
        assert (ROOT / linked).exists()


def test_the_data_page_has_the_keys_of_the_configs():
    """Every key of its tables is in a config, and every key of a config is on the page."""
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
