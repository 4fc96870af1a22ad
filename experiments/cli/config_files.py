"""The configs that there are, and one of them by its name: 'FILE[:variant]'."""

import difflib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from perceiver.errors import InputError
from perceiver.names import unknown

CONFIGS = Path(__file__).parents[2] / "configs"


def load_config(spec: str, choices: Mapping[str, str] | None = None) -> ConfigDict:
    """Loads FILE[:variant].

    Raises:
      InputError: no such file, not a config, or no such variant.
    """
    del choices
    path, _, variant = spec.partition(":")
    if path.endswith("/") or not Path(path).is_file():
        raise InputError(_unknown_config(path))
    module = _load_module(Path(path))
    if not hasattr(module, "get_config"):
        raise InputError(f"{path} is not a config: it has no get_config(variant)")
    if variant and list(getattr(module, "VARIANTS", ())) == [""]:
        raise InputError(f"{path} has no variants: give --config={path}, without ':{variant}'")
    try:
        return module.get_config(variant)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _unknown_config(path: str) -> str:
    """Says that there is no such config, and which is probably meant, by its name alone too."""
    known = {file.stem: str(file.relative_to(CONFIGS.parent)) for file in config_files()}
    near = difflib.get_close_matches(Path(path).stem.lower(), known, n=1, cutoff=0.8)
    if near:
        return f"unknown config {path!r}: did you mean {known[near[0]]!r}?"
    return unknown(path, known.values(), what="config")


def _load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None:
        raise InputError(f"{path} is not a Python file; configs are, see configs/")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_files() -> list[Path]:
    """The project's configs, in alphabetical order."""
    return [f for f in sorted(CONFIGS.glob("*.py")) if hasattr(_load_module(f), "get_config")]


def variants(file: Path) -> Mapping[str, str]:
    """The variants of a config, each with a line on what it is; '' is the config without one.

    Raises:
      InputError: it does not list them.
    """
    module = _load_module(file)
    if not hasattr(module, "VARIANTS"):
        raise InputError(f"{file} has no VARIANTS; list its variants in it, each with a line")
    return module.VARIANTS


def all_configs() -> Iterator[tuple[str, ConfigDict]]:
    """Every variant of every config of the project, as ('configs/NAME.py:variant', config)."""
    for file in config_files():
        module = _load_module(file)
        for variant in module.VARIANTS:
            name = f"configs/{file.name}" + (f":{variant}" if variant else "")
            yield name, module.get_config(variant)


def flatten(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Pairs ('section.key', value) of all values."""
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def list_configs() -> str:
    """The project's configs, a line each."""
    heads = {
        f"configs/{file.name}": (_load_module(file).__doc__ or "").partition("\n")[0]
        for file in config_files()
    }
    return "\n".join(["configs:", *_columns(heads)])


def list_variants(path: str) -> str:
    """The variants of a config, a line each."""
    return "\n".join(["variants:", *_columns(_lines(path))])


def list_all() -> str:
    """Every variant of every config of the project, a line each."""
    lines = {}
    for file in config_files():
        lines |= _lines(f"configs/{file.name}", file)
    return "\n".join(["configs and their variants:", *_columns(lines)])


def _lines(name: str, file: Path | None = None) -> dict[str, str]:
    listed = variants(file or Path(name))
    return {f"{name}:{variant}".rstrip(":"): line for variant, line in listed.items()}


def _columns(lines: Mapping[str, str]) -> list[str]:
    width = max(map(len, lines))
    return [f"  {name:{width}}  {line}" for name, line in lines.items()]


def choice_keys(config: ConfigDict) -> list[str]:
    """Returns the keys of a config whose values decide which other keys it has."""
    del config
    return []


def key_lines(spec: str) -> list[str]:
    """Returns a line for each key of FILE[:variant], with its default."""
    return [f"{key} = {value!r}" for key, value in flatten(load_config(spec))]
