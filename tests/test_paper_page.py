"""docs/paper.md shows the plain network and names code that exists for every part of the paper."""

import ast
import re
from pathlib import Path

import pytest

from experiments.cli.config_files import config_files, variants

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "paper.md").read_text()
PACKAGES = ("perceiver", "experiments", "launch", "configs")
CONFIGS = {
    f"configs/{file.name}" + (f":{variant}" if variant else "")
    for file in config_files()
    for variant in variants(file)
}
PARTS = [
    *(f"Sec. {section}" for section in ("3.1", "3.2", "4.1", "4.2", "4.3")),
    *(f"App. {letter}" for letter in "ABCDEF"),
    *(f"Table {number}" for number in range(1, 8)),
    *(f"Figure {number}" for number in range(1, 32)),
]


def rows():
    """Returns the rows of all tables as lists of three cells."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("Paper", "---")]


def code_spans(text):
    return re.findall(r"`([^`]+)`", text)


def module_file(name):
    """Returns the file of a module or package, or None."""
    path = ROOT.joinpath(*name.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def defined(tree):
    """Returns the definitions and assignments of a module or class, by name."""
    found = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found.update({target.id: node for target in node.targets})
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = node
        elif isinstance(node, ast.ImportFrom):
            found.update({alias.name: node for alias in node.names})
    return found


def name_exists(name):
    """Returns whether a dotted name is a module, or defined in one, without importing it."""
    words = name.split(".")
    if words[0] not in PACKAGES:
        return False
    for length in range(len(words), 0, -1):
        file = module_file(".".join(words[:length]))
        if file is not None:
            tree = ast.parse(file.read_text())
            for word in words[length:]:
                tree = defined(tree).get(word)
                if tree is None:
                    return False
            return True
    return False


def program_exists(command):
    """Returns whether the program of `python -m PROGRAM ...`, its subcommand and flags exist."""
    name, *arguments = command.removeprefix("python -m ").split()
    file = module_file(name)
    if file is None:
        return False
    main = file.with_name("__main__.py") if file.name == "__init__.py" else file
    if not main.is_file():
        return False
    words = [re.match(r"-*(\w+)", argument)[1] for argument in arguments]
    shared = (ROOT / "experiments" / "cli" / "main.py").read_text()
    return all(re.search(rf"\b{word}\b", main.read_text() + shared) for word in words)


def exists(code):
    if code.startswith("python -m "):
        return program_exists(code)
    if code.startswith("configs/"):
        return code in CONFIGS
    if "/" in code:
        return (ROOT / code).is_file()
    return name_exists(code)


def test_the_page_shows_the_file():
    (shown,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert shown == (ROOT / "perceiver" / "plain_perceiver.py").read_text()
    assert f"The network in {len(shown.splitlines())} lines" in PAGE


@pytest.mark.parametrize("row", rows(), ids=lambda row: " ".join(row[:2]))
def test_the_code_of_a_row_exists(row):
    paper, _, code = row
    assert code_spans(code) or paper == "App. A"
    for name in code_spans(code):
        assert exists(name), name


def test_the_code_in_the_text_exists():
    text = PAGE[PAGE.index("## Equations") :]
    for name in code_spans("\n".join(x for x in text.splitlines() if not x.startswith("|"))):
        assert exists(name.split(" --config=")[0]), name
    for config in re.findall(r"--config=(\S+)", text):
        assert config in CONFIGS, config


def test_every_part_of_the_paper_has_a_row():
    listed = set()
    for paper, *_ in rows():
        match = re.fullmatch(r"Figures (\d+) to (\d+)", paper)
        numbers = range(int(match[1]), int(match[2]) + 1) if match else []
        listed |= {f"Figure {number}" for number in numbers} or {paper}
    assert listed == set(PARTS)


@pytest.mark.parametrize(
    "missing",
    [
        "perceiver.attention.attends",
        "perceiver.model.Perceiver.tail",
        "perceiver.no_module",
        "configs/imagenet.py:no_variant",
        "launch/sweeps/figure7.json",
        "python -m experiments.no_program",
        "python -m experiments.attention_maps --no_flag=1",
    ],
)
def test_missing_code_is_found(missing):
    assert not exists(missing)
