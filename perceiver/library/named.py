"""Untrained networks by the names of their configs."""

import functools
import importlib.resources
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from perceiver import networks
from perceiver.errors import InputError
from perceiver.library.classifier import Classifier
from perceiver.modalities import MODALITIES
from perceiver.names import look_up

_CHECKOUT = Path(__file__).parents[2]


def names() -> list[str]:
    """Returns the names of all networks: 'imagenet', 'imagenet:learned_positions', ..."""
    return list(read_networks())


def build(name: str, *, num_classes: int | None = None, seed: int = 0, **model: Any) -> Classifier:
    """Builds the network of a config with initial parameters.

    Args:
      name: name of the network, one of `names()`.
      num_classes: number of outputs of the head; None for the number of classes in the config.
      seed: seed of the initial parameters.
      **model: new values for keys of the config's section `model`, for example num_latents=256.

    Raises:
      InputError: an unknown name or key, or sizes that do not fit together.
    """
    values = look_up(read_networks(), name, what="network")
    for key in model:
        look_up(values["model"], key, what=f"key of {name}'s section model")
    config = values | {"model": values["model"] | model}
    num_classes = values["data"]["num_classes"] if num_classes is None else num_classes
    network = networks.network(config["model"], config["data"], num_classes)
    spec = networks.batch_spec(config["model"], config["data"], 1)
    batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), spec)
    params, state = jax.jit(network.init)(jax.random.key(seed), batch)
    return Classifier(config, params, state, num_classes=num_classes)


@functools.cache
def read_networks() -> dict[str, dict[str, Any]]:
    """Returns the values of each config that describe its network, by name.

    They are the section `model`, the loss in `train`, and the input sizes and the number of classes
    in `data`: the other keys of `data` describe a data set.

    Raises:
      InputError: the package is incomplete, or the checkout's configs cannot be read.
    """
    # setup.py writes the file when it builds the package. A checkout has none.
    packaged = importlib.resources.files("perceiver.library").joinpath("networks.json")
    text = packaged.read_text("utf-8") if packaged.is_file() else _networks_of_checkout()
    return {
        name: values | {"data": _sizes(values["model"], values["data"])}
        for name, values in json.loads(text).items()
    }


def _networks_of_checkout() -> str:
    """Returns the output of `python -m configs.networks`.

    A separate process imports the configs because another package `configs` may be loaded here.
    """
    command = [sys.executable, "-m", "configs.networks"]
    done = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise InputError(
            f"the configs in {_CHECKOUT} cannot be read ({reason}): "
            "run pip install -e '.[train]' -c constraints.txt in the checkout"
        )
    return done.stdout


def _sizes(model: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    sizes = {key for name in networks.modalities_of(model) for key in MODALITIES[name].sizes}
    return {key: data[key] for key in sorted(sizes | {"num_classes"})}
