"""docs/experiments.md lists every variant with the figures that the code computes."""

import re
from pathlib import Path

import pytest

from experiments.cli.config_files import all_configs, load_config
from experiments.model_table.__main__ import markdown
from experiments.model_table.paper_rows import MEASURED, PRINTED
from perceiver.names import unknown

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "experiments.md").read_text()
README = (ROOT / "README.md").read_text()
TABLES = markdown()
REGENERATE = "python -m experiments.model_table --format=markdown"


def cells(line):
    """Returns the cells of a row of a table."""
    return [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize("file", TABLES)
def test_the_page_has_the_generated_tables(file):
    """Compares line by line, so that a message shows the outdated line."""
    for line in TABLES[file].splitlines():
        assert line in PAGE, f"not in docs/experiments.md: {line}\nCopy it from {REGENERATE}"
    assert TABLES[file] in PAGE, (
        f"lines of docs/experiments.md are in another order than in {REGENERATE}"
    )
    assert REGENERATE in PAGE


def test_every_variant_has_one_row():
    listed = []
    for file, table in TABLES.items():
        for line in table.splitlines()[2:]:
            variant = cells(line)[0].strip("`")
            listed.append(file if variant == "(none)" else file + variant)
    assert sorted(listed) == sorted(name for name, _ in all_configs())


def test_figures_of_known_rows():
    """Compares with Tables 1 to 7 and with the published sizes of the baselines."""
    rows = {}
    for file, table in TABLES.items():
        for line in table.splitlines()[2:]:
            rows[file, cells(line)[0].strip("`")] = cells(line)
    assert rows["configs/imagenet.py", "(none)"][2:5] == [
        "78.0% (Tables 1, 2, 6 and 7), 79.5% in training (Table 7); 44.9M, 707.2B",
        "44,912,254",
        "707.2",
    ]
    assert rows["configs/imagenet.py", ":unshared"][3] == "326,241,856"
    assert rows["configs/imagenet.py", ":resnet"][2:4] == [
        "77.6% (Table 1), from the literature",
        "25,557,032",
    ]
    assert rows["configs/imagenet.py", ":vit"][3] == "86,567,656"
    assert rows["configs/imagenet.py", ":vit_ff_permuted"][2] == "61.7% (Table 2)"
    assert rows["configs/audioset.py", ":mel_video_tuned"][2] == "44.2% (Table 3)"
    assert rows["configs/modelnet40.py", ":vit_8"][2] == "65.3% (Table 4)"


def test_empty_columns_are_left_out():
    assert "printed" in TABLES["configs/audioset.py"].splitlines()[0]
    assert "printed" not in TABLES["configs/folder.py"].splitlines()[0]


def test_configs_and_files_exist():
    for spec in set(re.findall(r"--config=(configs/[\w.,:]*\w)", PAGE)):
        if "FILE" not in spec:
            load_config(spec.replace(":VARIANT", ""))
    for path in re.findall(r"launch/[\w/]+\.(?:py|json)", PAGE):
        assert (ROOT / path).is_file(), path
    for linked in re.findall(r"\]\(([\w./]+\.md)", PAGE):
        assert (ROOT / "docs" / linked).is_file(), linked


def test_results_of_the_configs_are_described():
    """The README or the last section of the page has every result in the tables."""
    _, section = PAGE.split("\n## What was run here\n")
    for name, result in MEASURED.items():
        assert name in dict(all_configs()), unknown(name, dict(all_configs()), what="variant")
        (figure,) = re.findall(r"[\d.]+%", result)
        assert figure in README + section, f"{name}: {figure}"
    _, *parts = section.split("\n### ")
    headings = [part.splitlines()[0] for part in parts]
    assert headings == [
        "Point clouds: four networks, one budget",
        "Pictures, raw and permuted",
        "Sound, raw and as a spectrogram",
        "Sound and video together",
    ]
    for part in parts:
        assert "python -m experiments.train" in part
        (curves,) = re.findall(r"!\[[^]]+\]\(([\w./]+)\)", part)
        assert (ROOT / "docs" / curves).read_bytes().startswith(b"\x89PNG")


def test_the_page_has_every_printed_result():
    for name, row in PRINTED:
        if row.value is not None:
            assert f"{row.value}%" in PAGE, name
