"""The forms of a network that are timed: the config's, and with --against another beside it."""

import ast
import copy
import dataclasses
import re

from ml_collections import ConfigDict

from experiments.cli.config_files import flatten
from perceiver.errors import InputError
from perceiver.names import unknown

PLAIN = "plain"


@dataclasses.dataclass(frozen=True)
class Form:
    """One way to compute a network.

    Attributes:
      name: for the table.
      config: of the run.
      plain: whether `perceiver.plain_perceiver` stands in for the config's network.
    """

    name: str
    config: ConfigDict
    plain: bool = False


def forms(config: ConfigDict, against: str | None) -> list[Form]:
    """The config's form, and the one that --against names.

    Args:
      config: of the run.
      against: None, 'plain', or 'config.KEY=VALUE', several with commas between.

    Raises:
      InputError: something else, an unknown key, a value of another type, or no Perceiver.
    """
    own = Form("config", config)
    if against is None:
        return [own]
    if against == PLAIN:
        if config.model.name != "perceiver":
            raise InputError(
                f"--against=plain is a Perceiver; config.model.name={config.model.name} has no "
                "plain form"
            )
        return [own, Form(PLAIN, config, plain=True)]
    return [own, Form(against, _overridden(config, against))]


def _overridden(config: ConfigDict, against: str) -> ConfigDict:
    """The config with other values."""
    config, known = copy.deepcopy(config), dict(flatten(config))
    for override in re.split(r",(?=config\.)", against):
        key, equals, text = override.partition("=")
        if not key.startswith("config.") or not equals:
            raise InputError(
                f"--against={against}; give plain, or config.KEY=VALUE, as in "
                "config.model.remat=block"
            )
        key = key.removeprefix("config.")
        if key not in known:
            raise InputError(f"--against: {unknown(key, known, what='config key')}")
        section, _, name = key.rpartition(".")
        try:
            _section(config, section)[name] = _value(text, known[key])
        except (TypeError, ValueError, SyntaxError) as error:
            raise InputError(
                f"--against={override}: {text!r} is not {type(known[key]).__name__}, which "
                f"config.{key} is"
            ) from error
    return config


def _section(config: ConfigDict, path: str) -> ConfigDict:
    for name in path.split("."):
        config = config[name]
    return config


def _value(text: str, current: object) -> object:
    """A value of the type of the current one, as a flag would be read."""
    if isinstance(current, str):
        return text
    if isinstance(current, bool) and text in ("true", "false"):
        return text == "true"
    return ast.literal_eval(text)
