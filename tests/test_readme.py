"""The README's code runs, and what README and docs name is there."""

import re
from pathlib import Path

from experiments.command_line import all_configs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_in_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["logits"].shape == (1, 10)


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
