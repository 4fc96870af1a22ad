"""The tests that docs/reliability.md names exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")
NAMED = re.findall(r"`(?:(tests/[\w/]+|test_\w+)\.py)?(?:::)?(\w+)?(?:::(\w+))?`", PAGE)


def named_tests():
    """Yields pairs of a file and a name in it; a name without a file belongs to the last file."""
    file = None
    for path, name, inner in NAMED:
        if path:
            file = ROOT / (path if path.startswith("tests/") else f"tests/faults/{path}")
            file = file.with_suffix(".py")
        elif not name.startswith(("test_", "Test")):
            continue
        yield file, name
        if inner:
            yield file, inner


@pytest.mark.parametrize(("file", "name"), list(named_tests()), ids=str)
def test_the_named_test_exists(file, name):
    text = file.read_text("utf-8")
    assert not name or re.search(rf"^ *(?:def|class) {name}\b", text, re.MULTILINE)


def test_the_table_has_all_faults():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and ".py" in line]
    assert len(rows) >= 24
