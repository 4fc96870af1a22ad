"""What is mistyped on a command line, and what was probably meant, in a line."""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from experiments.cli.config_files import flatten, load_config
from perceiver.errors import InputError
from perceiver.names import unknown

_DASHES = "‐‑‒–—―−"  # what text processors make of -, --


def config_spec(argv: Sequence[str]) -> str | None:
    """FILE[:variant] as given by --config=..., or by --config and the next argument."""
    for i, arg in enumerate(argv[1:], start=1):
        name, equals, value = arg.partition("=")
        if name in ("--config", "-config"):
            if not equals:
                value = "".join(argv[i + 1 : i + 2])
            return value if value and not value.startswith("-") else None
    return None


def without_empty_config(argv: Sequence[str]) -> Sequence[str]:
    """The arguments without a --config that has no value, which would take the next for its own."""
    if config_spec(argv) is not None:
        return argv
    return [arg for arg in argv if arg not in ("--config", "-config", "--config=", "-config=")]


def check_spaces(argv: Sequence[str]) -> None:
    """Refuses an argument that begins with =, as a space before it makes of --flag =value."""
    for before, arg in itertools.pairwise(argv):
        if arg.startswith("="):
            raise InputError(f"{before!r} and {arg!r} stand apart; write no spaces around the =")


def check_overrides(argv: Sequence[str]) -> dict[str, object]:
    """Refuses an unknown config, variant or key, naming the nearest, before absl parses.

    Returns:
      The config's values before they are overridden, by key; none where no config is given.
    """
    spec = config_spec(argv)
    overrides = [arg for arg in argv[1:] if re.match(r"--?(no)?config\.", arg)]
    if spec is None:
        if overrides:
            raise InputError(f"{overrides[0]} overrides a config, but --config=FILE is missing")
        return {}
    known = dict(flatten(load_config(spec)))
    for override in overrides:
        key = re.sub(r"^--?config\.", "", override.split("=", 1)[0])
        negated = re.sub(r"^--?noconfig\.", "", key)
        if key not in known and negated not in known:
            sections = {k.rsplit(".", n)[0] for k in known for n in range(1, k.count(".") + 1)}
            if key in sections:
                raise InputError(f"config.{key} is a section; override one of its keys")
            raise InputError(_unknown_key(key, known))
    return known


def _unknown_key(key: str, known: Iterable[str]) -> str:
    same = _ending_in(key, known)
    if same and "." not in key:
        return f"unknown config key {key!r}: did you mean {' or '.join(map(repr, same))}?"
    return unknown(key, known, what="config key")


def _ending_in(name: str, known: Iterable[str]) -> list[str]:
    """The keys whose last part is called so, '-' and '_' being the same."""
    last = name.rpartition(".")[2].lower().replace("-", "_")
    return [key for key in known if key.rpartition(".")[2] == last]


def check_tuples(defaults: Mapping[str, object], config: ConfigDict | None) -> None:
    """Refuses words in tuples of numbers, which absl makes of what it can't read, and fractions."""
    for key, value in flatten(config or ConfigDict()):
        default = defaults.get(key)
        if isinstance(default, tuple) and not any(isinstance(x, str) for x in default):
            words = [x for x in value if not isinstance(x, int | float)]
            if words:
                raise InputError(f"config.{key} takes numbers, as in (0.5, 2.0), not {words[0]!r}")
            whole = default and all(isinstance(x, int) for x in default)
            parts = [x for x in value if whole and not isinstance(x, int)]
            if parts:
                raise InputError(f"config.{key} takes whole numbers, not {parts[0]}")


def of_word(word: str, names: Iterable[str]) -> str:
    """Says that a word is no flag.

    Args:
      word: what was given.
      names: the flags that the program has.
    """
    name = word.partition("=")[0].split(".")[0]
    bare = word.lstrip(_DASHES + "-")
    if bare != word:
        return f"{word!r} is not a flag: it begins with a dash that is no '-'; write --{bare}"
    if "=" in word and name in names:
        return f"{word!r} is not a flag; did you mean --{word}?"
    if "config" in names and Path(word.partition(":")[0]).suffix == ".py":
        return f"{word!r} is not a flag; did you mean --config={word}?"
    return f"{word!r} is not a flag; flags begin with --, see --help"


def of_flag(error: flags.UnrecognizedFlagError, names: Iterable[str], keys: Iterable[str]) -> str:
    """Says that there is no such flag.

    Args:
      error: what absl says.
      names: the flags that the program has.
      keys: those of the config that is given.
    """
    name, names = error.flagname, list(names)
    said = f"unknown flag --{name}"
    if name == "config":
        return f"{said}: the config is the one that the run in --workdir was trained with"
    same = [f"--config.{key}" for key in _ending_in(name, keys)]
    if "." in name:
        same = [flag for flag in same if flag == f"--config.{name}"] or same
    near = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1)
    if same or near:
        return f"{said}: did you mean {' or '.join(same or [f'--{near[0]}'])}?"
    return f"{said}; see --help"


_KINDS = {
    "invalid literal for int()": "a whole number, such as 64",
    "could not convert string to float": "a number, such as 0.001",
    "Non-boolean argument": "true or false",
}


def of_value(message: str) -> str:
    """What absl says of a flag's value, in the words of this project where it is of a kind."""
    message = " ".join(message.split())
    found = re.match(r"flag --(\S+?)=(.*?): (.*)", message)
    for said, wanted in _KINDS.items():
        if found and said in found[3]:
            return f"{found[1]} takes {wanted}, not {found[2]!r}"
    missing = re.match(r"Missing value for flag (\S+)", message)
    return f"{missing[1]} has no value; write {missing[1]}=VALUE" if missing else message
