"""Variants of a network to time: the config's and, with --against, a second one."""

import ast
import copy
import dataclasses
import functools
import re

import haiku as hk
from ml_collections import ConfigDict

from experiments.cli.config_files import flatten
from experiments.run.from_config import Experiment, from_config
from perceiver import networks
from perceiver.errors import InputError
from perceiver.names import unknown
from perceiver.plain_perceiver import plain_perceiver

PLAIN = "plain"


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to compute a network.

    Attributes:
      name: Name for the table.
      config: The config.
      plain: True if `perceiver.plain_perceiver` computes the config's network.
    """

    name: str
    config: ConfigDict
    plain: bool = False

    @functools.cached_property
    def experiment(self) -> Experiment:
        """The record of the config, built at the first use.

        Raises:
          InputError: The config cannot be built.
        """
        experiment = from_config(self.config)
        if not self.plain:
            return experiment
        model = self.config.model.to_dict()

        def apply(params, state, rng, batch, is_training):
            encode = hk.transform(lambda: networks.byte_arrays(model, batch, is_training))
            parts = encode.apply(params, rng)
            sizes = networks.architecture(model)
            return plain_perceiver(params, sizes, parts, model["dtype"]), state

        network = experiment.network._replace(apply=apply)
        return dataclasses.replace(experiment, network=network)

    def __reduce__(self):
        """Pickles the values only: a fresh process builds the experiment again."""
        return Variant, (self.name, self.config, self.plain)


def variants(config: ConfigDict, against: str | None) -> list[Variant]:
    """Returns the config's variant, and the one that --against names.

    Args:
      config: The config.
      against: None, 'plain', or 'config.KEY=VALUE', several separated by commas.

    Raises:
      InputError: An unknown key, a value of another type, or 'plain' for another network than a
        Perceiver.
    """
    own = Variant("config", config)
    if against is None:
        return [own]
    if against == PLAIN:
        if config.model.name != "perceiver":
            raise InputError(
                f"--against=plain is a Perceiver; config.model.name={config.model.name} has no "
                "plain form"
            )
        return [own, Variant(PLAIN, config, plain=True)]
    return [own, Variant(against, _overridden(config, against))]


def _overridden(config: ConfigDict, against: str) -> ConfigDict:
    """Returns the config with other values."""
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
    """Parses a value of the type of the current one, as flags do."""
    if isinstance(current, str):
        return text
    if isinstance(current, bool) and text in ("true", "false"):
        return text == "true"
    return ast.literal_eval(text)
