"""Messages about mistyped command lines: one line with the word that was probably meant."""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from experiments.cli.config_files import flatten
from perceiver.errors import InputError
from perceiver.names import unknown

_DASHES = "‐‑‒–—―−"  # characters that text processors make of - and --


def check_spaces(arguments: Sequence[str]) -> None:
    """Refuses an argument that begins with =, which comes from a space in --flag =value."""
    for before, argument in itertools.pairwise(arguments):
        if argument.startswith("="):
            raise InputError(
                f"{before!r} and {argument!r} stand apart; write no spaces around the ="
            )


def check_key(key: str, known: Iterable[str]) -> None:
    """Refuses an unknown key of a config.

    Args:
      key: the key without 'config.', as in 'train.steps'.
      known: the keys of all values of the config.

    Raises:
      InputError: the key is unknown, or names a section.
    """
    known = list(known)
    if key in known:
        return
    if any(other.startswith(f"{key}.") for other in known):
        raise InputError(f"config.{key} is a section; override one of its keys")
    same = _ending_in(key, known)
    if same and "." not in key:
        names = " or ".join(map(repr, same))
        raise InputError(f"unknown config key {key!r}: did you mean {names}?")
    raise InputError(unknown(key, known, what="config key"))


def _ending_in(name: str, known: Iterable[str]) -> list[str]:
    """Returns the keys with the same last part; '-' and '_' count as equal."""
    last = name.rpartition(".")[2].lower().replace("-", "_")
    return [key for key in known if key.rpartition(".")[2] == last]


def check_tuples(defaults: Mapping[str, object], config: ConfigDict) -> None:
    """Refuses words and fractions in tuples of numbers; absl reads anything else as a word.

    Args:
      defaults: values by key before the overrides.
      config: the config after the overrides.

    Raises:
      InputError: a tuple has a value of another type than its default.
    """
    for key, value in flatten(config):
        default = defaults.get(key)
        if isinstance(default, tuple) and not any(isinstance(x, str) for x in default):
            words = [x for x in value if not isinstance(x, int | float)]
            if words:
                raise InputError(f"config.{key} takes numbers, as in (0.5, 2.0), not {words[0]!r}")
            whole = default and all(isinstance(x, int) for x in default)
            fractions = [x for x in value if whole and not isinstance(x, int)]
            if fractions:
                raise InputError(f"config.{key} takes whole numbers, not {fractions[0]}")


def stray_word(word: str, names: Iterable[str]) -> str:
    """Returns the message for a word that is not a flag.

    Args:
      word: the argument.
      names: the program's flags, without dashes.
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


def unknown_flag(name: str, names: Sequence[str], keys: Iterable[str]) -> str:
    """Returns the message for an unknown flag.

    Args:
      name: the flag, without dashes.
      names: the program's flags, without dashes.
      keys: the keys of the config, if one is given.
    """
    problem = f"unknown flag --{name}"
    if name.partition(".")[0] == "config" and "workdir" in names:
        return f"{problem}: the config is the one that the run in --workdir was trained with"
    same = [f"--config.{key}" for key in _ending_in(name, keys)]
    if "." in name:
        same = [flag for flag in same if flag == f"--config.{name}"] or same
    near = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1)
    if same or near:
        return f"{problem}: did you mean {' or '.join(same or [f'--{near[0]}'])}?"
    return f"{problem}; see --help"


# Parts of absl's and argparse's messages, and the kind of value that the flag takes.
_KINDS = {
    "invalid literal for int()": "a whole number, such as 64",
    "invalid int value": "a whole number, such as 64",
    "could not convert string to float": "a number, such as 0.001",
    "invalid float value": "a number, such as 0.001",
    "Non-boolean argument": "true or false",
}


def wrong_value(message: str) -> str:
    """Rewrites a message of absl or argparse about the value of a flag."""
    message = " ".join(message.split())
    missing = re.match(
        r"Missing value for flag (\S+)|argument (\S+): expected one argument", message
    )
    if missing:
        flag = missing[1] or missing[2]
        return f"{flag} has no value; write {flag}=VALUE"
    found = re.match(r"flag --(\S+?)=(.*?): (.*)", message)  # absl
    flag, value, problem = found.groups() if found else ("", "", "")
    if found and not flag.startswith("config."):
        flag = f"--{flag}"
    if not found:
        found = re.match(r"argument (\S+): (invalid .*?: '?(.*?)'?(?: \(.*)?|=.*)$", message)
        flag, problem, value = found.groups() if found else ("", message, "")  # argparse
    for part, wanted in _KINDS.items():
        if part in problem:
            return f"{flag} takes {wanted}, not {value!r}"
    if problem.startswith("="):
        return flag + problem
    if problem.startswith("invalid choice"):
        return f"{flag}={value}: {problem}"
    return message
