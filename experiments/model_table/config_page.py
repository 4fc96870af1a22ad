"""Writes docs/configs.md: every key of the project's configs, with defaults and descriptions."""

import ast
from collections.abc import Mapping
from pathlib import Path

from configs.choices import CHOICES
from experiments.cli.config_files import CONFIGS, Source, all_configs, flatten, shown, source_of

PAGE = CONFIGS.parent / "docs" / "configs.md"

_HEAD = """# Keys of the configs

Every key of the configs can be changed on the command line:

    python -m experiments.train --config=configs/digits.py --workdir=runs/mine --config.train.seed=1

`--help` together with `--config=FILE:variant` lists the keys and defaults of that variant. An
unknown key is an error that names the nearest one. A config has only the keys of the optimiser, the
schedule and the position encodings that it chooses. If a default differs between data sets, the
table names them; variants may differ further. MODALITY stands for image, audio, spectrogram, video
or points.

This page is generated from the comments in configs/:

    python -m experiments.model_table --format=config_reference > docs/configs.md
"""

# Headings, by file of configs/; the docstrings of the functions there introduce the tables.
_HEADINGS = {
    "base": "config.optimizer, config.train, config.eval",
    "choices": "Keys of the chosen records",
    "models": "config.model",
    "inputs": "config.model.inputs.MODALITY",
    "data": "config.data",
}

# Rows of a table: the default of each data set, by key and description.
Rows = dict[tuple[str, str], dict[str, object]]


def config_reference() -> str:
    """Returns the page."""
    tables: dict[Source, Rows] = {}
    for name, config in all_configs():
        file = Path(name.partition(":")[0])
        for key, default in flatten(config):
            source, description = source_of(key, config, CONFIGS.parent / file)
            assert source is not None, f"{name} sets {key} without a comment"
            row = (_general(key, source), description + _only_with(key, source))
            tables.setdefault(source, {}).setdefault(row, {}).setdefault(file.stem, default)
    lines = [_HEAD]
    for file in [*_HEADINGS, *sorted({source.file for source in tables} - _HEADINGS.keys())]:
        lines.append(f"## {_HEADINGS.get(file, f'config.data of configs/{file}.py')}\n")
        for function, introduction in _functions(file).items():
            rows = tables.get(Source(file, function))
            if rows:
                lines += [f"{introduction}\n", *_table(rows), ""]
    return "\n".join(lines)


def _table(rows: Rows) -> list[str]:
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    for (key, description), defaults in sorted(rows.items()):
        lines.append(f"| `{key}` | {_defaults(defaults)} | {description} |")
    return lines


def _defaults(defaults: Mapping[str, object]) -> str:
    """Returns the default, or each default with the data sets that have it."""
    by_value: dict[str, list[str]] = {}
    for name, default in defaults.items():
        value = f"`{shown(default)}`" if shown(default) else "not set"
        by_value.setdefault(value, []).append(name)
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in by_value.items())


def _general(key: str, source: Source) -> str:
    """Returns the key, with MODALITY for the name of a modality if all have the same meaning."""
    shared = source.file == "choices" or source.function.startswith("_")
    parts = key.split(".")
    if parts[1] == "inputs" and shared:
        parts[2] = "MODALITY"
    return ".".join(parts)


def _only_with(key: str, source: Source) -> str:
    """Returns the choices that have a key, for the keys of the chosen records."""
    if source.file != "choices":
        return ""
    last = key.rpartition(".")[2]
    for pattern, records in CHOICES.items():
        names = [name for name, own in records.items() if last in own]
        if names:
            return f". Only with `{pattern.rpartition('.')[2]}` {' or '.join(names)}"
    return ""


def _functions(file: str) -> dict[str, str]:
    """Returns the functions of a file of configs/ in order, with their introductions."""
    tree = ast.parse((CONFIGS / f"{file}.py").read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    introductions = {node.name: (ast.get_docstring(node) or "").strip() for node in functions}
    introductions["get_config"] = introductions["_data"] = "Keys of this data set."
    if file == "choices":
        return {"": "Keys that depend on the optimiser, the schedule and the position encoding."}
    return introductions
