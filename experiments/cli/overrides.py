"""Overrides of a config's values on the command line: --config.section.key=value."""

import os
import re
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments.cli import suggestions
from experiments.cli.config_files import alternatives, choice_keys, flatten, load_config
from perceiver.errors import InputError

_PREFIX = "--config."
# Keys of `config.data` whose values are paths: a shell leaves the ~ in --key=~/folder unchanged.
_PATHS = ("dir", "prepared")


def split(arguments: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Separates --config and its overrides from other arguments.

    Args:
      arguments: arguments of a program, without its name.

    Returns:
      The other arguments; FILE[:variant], or None if --config is missing or has no value; and the
      overrides, each in one word and with two dashes.
    """
    rest, spec, overrides = [], None, []
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        name = re.sub(r"^--?(?=(no)?config)", "--", name)
        if name == "--config" or name.startswith(_PREFIX):
            if not equals and words and re.match(r"(?!-)|-\.?\d", words[0]):
                equals, value = "=", words.pop(0)
            if name == "--config":
                spec = value or None
            else:
                overrides.append(name + equals + value)
        elif name.startswith("--noconfig."):
            overrides.append(name + equals + value)
        else:
            rest.append(word)
    return rest, spec, overrides


def load(spec: str | None, overrides: Sequence[str]) -> ConfigDict | None:
    """Loads a config and applies overrides to it.

    Args:
      spec: FILE[:variant], or None without a config.
      overrides: '--config.key=value', '--config.key' or '--noconfig.key'. The last override of a
        key counts.

    Returns:
      The config, locked; None without one.

    Raises:
      InputError: an unknown config, variant or key, or a value of another type.
    """
    if spec is None:
        if overrides:
            raise InputError(f"{overrides[0]} overrides a config, but --config=FILE is missing")
        return None
    config = _load_chosen(spec, overrides)
    defaults = dict(flatten(config))
    for override in overrides:
        key = _key(override)
        if key not in defaults and (choices := alternatives(config, key)):
            raise InputError(f"config.{key} has no effect here; it needs config.{choices[0]}")
        suggestions.check_key(key, defaults)
    values, arguments = flags.FlagValues(), ["", *overrides]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=arguments)
        values(arguments)
    except (flags.Error, TypeError, ValueError) as error:
        raise InputError(suggestions.wrong_value(str(error))) from error
    suggestions.check_tuples(defaults, config)
    _expand_home(config)
    return config


def _load_chosen(spec: str, overrides: Sequence[str]) -> ConfigDict:
    """Loads a config with the records that overrides choose, for example an optimiser's."""
    given = {_key(override): override.partition("=")[2] for override in overrides}
    choices: dict[str, str] = {}
    while True:
        config = load_config(spec, choices)
        # A chosen record may have keys that choose another record.
        new = {k: given[k] for k in choice_keys(config) if k in given and k not in choices}
        if not new:
            return config
        choices |= new


def _key(override: str) -> str:
    return override.partition("=")[0].partition("config.")[2]


def keys(config: ConfigDict | None) -> list[str]:
    """Returns the keys of all values of a config, 'section.key'."""
    return [key for key, _ in flatten(config)] if config is not None else []


def _expand_home(config: ConfigDict) -> None:
    """Replaces ~ in the paths of a config by the user's home, as a shell does."""
    for key in _PATHS:
        value = config.data.get(key) if "data" in config else None
        if isinstance(value, str) and value.startswith("~"):
            config.data[key] = os.path.expanduser(value)
            if config.data[key].startswith("~"):
                raise InputError(
                    f"config.data.{key}={value}: there is no such user on this machine; give the "
                    "folder's path"
                )
