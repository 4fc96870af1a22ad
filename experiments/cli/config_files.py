"""Finds and loads configs by name, 'FILE[:variant]', and describes their keys."""

import ast
import difflib
import functools
import importlib.util
import io
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from configs import choices as choices_of_configs
from perceiver.errors import InputError
from perceiver.names import unknown

CONFIGS = Path(__file__).parents[2] / "configs"


def load_config(spec: str, choices: Mapping[str, str] | None = None) -> ConfigDict:
    """Loads FILE[:variant].

    Args:
      spec: the file and the variant.
      choices: values for keys that choose a record, by dotted key; see `choice_keys`. The chosen
        record replaces the keys of the old one. Keys of both records keep their values; the other
        keys get the defaults of the chosen record.

    Raises:
      InputError: no such file, not a config, no such variant, or an unknown choice.
    """
    path, _, variant = spec.partition(":")
    if path.endswith("/") or not Path(path).is_file():
        raise InputError(_unknown_config(path))
    module = _load_module(Path(path))
    if not hasattr(module, "get_config"):
        raise InputError(f"{path} is not a config: it has no get_config(variant)")
    if variant and list(getattr(module, "VARIANTS", ())) == [""]:
        raise InputError(f"{path} has no variants: give --config={path}, without ':{variant}'")
    try:
        config = module.get_config(variant)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    for key, value in (choices or {}).items():
        if key not in choice_keys(config):
            raise InputError(unknown(key, choice_keys(config), what="config key"))
        try:
            choices_of_configs.choose(config, key, value)
        except ValueError as error:
            raise InputError(str(error)) from error
    return config


def choice_keys(config: ConfigDict) -> list[str]:
    """Returns the dotted keys of a config whose value chooses a record, such as 'optimizer.name'.

    A config has only the keys of the chosen record, so these keys are set before any other.
    """
    return choices_of_configs.choice_keys(config)


def alternatives(config: ConfigDict, key: str) -> list[str]:
    """Returns the choices that would give a config a key, as in 'optimizer.name=sgd'."""
    return choices_of_configs.alternatives(config, key)


def _unknown_config(path: str) -> str:
    """Returns the message for an unknown config, with the nearest known one."""
    known = {file.stem: str(file.relative_to(CONFIGS.parent)) for file in config_files()}
    near = difflib.get_close_matches(Path(path).stem.lower(), known, n=1, cutoff=0.8)
    if near:
        return f"unknown config {path!r}: did you mean {known[near[0]]!r}?"
    return unknown(path, known.values(), what="config")


def _load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file; configs are, see configs/")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_files() -> list[Path]:
    """Returns the project's configs in alphabetical order."""
    return [f for f in sorted(CONFIGS.glob("*.py")) if hasattr(_load_module(f), "get_config")]


def variant_records(file: Path) -> Mapping[str, Any]:
    """Returns the table VARIANTS of a config: records by name; '' is the config without a variant.

    Raises:
      InputError: the file has no such table.
    """
    module = _load_module(file)
    if not hasattr(module, "VARIANTS"):
        raise InputError(f"{file} has no VARIANTS; list its variants there, with a description")
    return module.VARIANTS


def variants(file: Path) -> Mapping[str, str]:
    """Returns the descriptions of a config's variants by name; a plain string describes itself.

    Raises:
      InputError: the file has no table of variants.
    """
    return {
        name: record if isinstance(record, str) else record.description
        for name, record in variant_records(file).items()
    }


def all_configs() -> Iterator[tuple[str, ConfigDict]]:
    """Yields every variant of every config of the project: ('configs/NAME.py:variant', config)."""
    for name, _ in all_variants():
        yield name, load_config(str(CONFIGS.parent / name))


def all_variants() -> Iterator[tuple[str, Any]]:
    """Yields every variant of the project's configs: ('configs/NAME.py:variant', its record)."""
    for file in config_files():
        for variant, record in variant_records(file).items():
            yield f"configs/{file.name}:{variant}".rstrip(":"), record


def flatten(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields pairs ('section.key', value) of all values."""
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def list_configs() -> str:
    """Returns the project's configs, one line each."""
    heads = {
        f"configs/{file.name}": (_load_module(file).__doc__ or "").partition("\n")[0]
        for file in config_files()
    }
    return "\n".join(["configs:", *_columns(heads)])


def list_variants(path: str) -> str:
    """Returns the variants of a config, one line each."""
    return "\n".join(["variants:", *_columns(_lines(path))])


def list_all() -> str:
    """Returns every variant of every config of the project, one line each."""
    lines: dict[str, str] = {}
    for file in config_files():
        lines |= _lines(f"configs/{file.name}", file)
    return "\n".join(["configs and their variants:", *_columns(lines)])


def _lines(name: str, file: Path | None = None) -> dict[str, str]:
    listed = variants(file or Path(name))
    return {f"{name}:{variant}".rstrip(":"): line for variant, line in listed.items()}


def _columns(lines: Mapping[str, str]) -> list[str]:
    width = max(map(len, lines))
    return [f"  {name:{width}}  {line}" for name, line in lines.items()]


class KeyDescription(NamedTuple):
    """A key of a config.

    Attributes:
      key: the dotted key, as in 'train.batch_size'.
      default: value of the key in the config.
      description: comment at the line of configs/ that sets the key; '' without a comment.
    """

    key: str
    default: object
    description: str


def describe(spec: str, choices: Mapping[str, str] | None = None) -> list[KeyDescription]:
    """Returns the keys of FILE[:variant] with their defaults and descriptions.

    Args:
      spec: the file and the variant.
      choices: see `load_config`.
    """
    config, file = load_config(spec, choices), Path(spec.partition(":")[0])
    return [
        KeyDescription(key, value, source_of(key, config, file)[1])
        for key, value in flatten(config)
    ]


def key_lines(spec: str, choices: Mapping[str, str] | None = None) -> list[str]:
    """Returns lines for --help: the keys of FILE[:variant] with their defaults and descriptions."""
    lines, column, width = [], 46, 100
    for key, default, description in describe(spec, choices):
        head = f"  {key}={shown(default)}"
        if len(head) > column - 2:
            lines.append(head if len(head) <= width else f"{head[: width - 4]} ...")
            head = ""
        wrapped = textwrap.wrap(description, width - column) or [""]
        lines.append(f"{head:{column}}{wrapped[0]}".rstrip())
        lines += [" " * column + line for line in wrapped[1:]]
    return lines


def shown(value: object) -> str:
    """Returns a value in the form in which a user types it; '' for None."""
    return "" if value is None else str(value)


class Source(NamedTuple):
    """The function of configs/ that sets a key.

    Attributes:
      file: name of the file without its suffix.
      function: name of the function; '' for a table outside functions.
    """

    file: str
    function: str


def source_of(key: str, config: ConfigDict, file: Path) -> tuple[Source | None, str]:
    """Returns the function that sets a key of a config, and the comment at that line.

    Args:
      key: the dotted key.
      config: the config that has it.
      file: the config's file.

    Returns:
      The function and the description; None and '' if no line that sets the key has a comment.
    """
    for source, name in _sources(key, config):
        comments = _comments(CONFIGS / f"{source.file}.py")
        if (source.function, name) in comments:
            return source, comments[source.function, name]
    for (function, name), comment in _comments(file).items():
        if name in (key, key.rpartition(".")[2]):
            return Source(file.stem, function), comment
    return None, ""


def _sources(key: str, config: ConfigDict) -> Iterator[tuple[Source, str]]:
    """Yields the shared functions that may set a key, and the name of the key there."""
    section, _, rest = key.partition(".")
    if rest.startswith("inputs."):
        _, modality, name = rest.split(".", 2)
        for function in (modality, "_grid", "_common"):
            yield Source("inputs", function), name
    elif section == "model":
        for function in (config.model.name, "_common", "_encoder", "_grid", "_arithmetic"):
            yield Source("models", function), rest
    elif section == "data":
        kind = next((k for k, name in _KINDS.items() if name in config.data), "pictures")
        for function in (kind, "common", "_frames", "add_split"):
            yield Source("data", function), rest
    yield Source("base", "base"), key
    yield Source("choices", ""), key.rpartition(".")[2]


# The functions of configs/data.py by a key that only their data sets have.
_KINDS = {"points": "num_points", "clips": "clip_frames"}


@functools.cache
def _comments(file: Path) -> dict[tuple[str, str], str]:
    """Returns the comments at lines that set keys, by function and key.

    A key is set by an assignment to an attribute ('train.seed' of `config.train.seed = 0`, 'scale'
    of `data.scale = ...`) or by an entry of a dictionary. Its comment is at the end of the line, or
    in the lines above.
    """
    text = file.read_text("utf-8")
    at_end: dict[int, str] = {}
    alone: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments = alone if token.line.strip() == token.string else at_end
            comments[token.start[0]] = token.string.lstrip("# ")

    def comment(lines: _Lines) -> str:
        if lines.last in at_end:
            return at_end[lines.last]
        above: list[str] = []
        line = lines.first - 1
        while line in alone:
            above.insert(0, alone[line])
            line -= 1
        return " ".join(above)

    found = {}
    for name, key, lines in _assignments(ast.parse(text)):
        if text := comment(lines).rstrip("."):
            found[name, key] = text[0].upper() + text[1:]
    return found


class _Lines(NamedTuple):
    """The first and the last line of a statement or of an entry of a dictionary."""

    first: int
    last: int | None


def _assignments(tree: ast.Module) -> Iterator[tuple[str, str, _Lines]]:
    """Yields the keys that a file sets: the function, the key, and the lines that set it."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                key = ast.unparse(node.targets[0]).partition(".")[2]
                yield function.name, key, _Lines(node.lineno, node.end_lineno)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for node in ast.walk(statement):
                if isinstance(node, ast.Dict):
                    for entry, value in zip(node.keys, node.values, strict=True):
                        if isinstance(entry, ast.Constant):
                            yield "", str(entry.value), _Lines(entry.lineno, value.end_lineno)
