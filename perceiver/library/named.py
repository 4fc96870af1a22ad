"""Networks by the names of their configs, untrained.

networks.json beside this holds what the project's configs say of them; it is made by
`python -m experiments.model_table.named_networks`.
"""

import functools
import importlib.resources
import json
from typing import Any

import jax
import jax.numpy as jnp

from perceiver import networks
from perceiver.library.classifier import Classifier
from perceiver.names import look_up


def names() -> list[str]:
    """The names of all networks: 'imagenet', 'imagenet:learned', ..., as the configs are called."""
    return list(_networks())


def build(name: str, *, num_classes: int | None = None, seed: int = 0, **model) -> Classifier:
    """Builds a network as a config has it, with initial parameters.

    Args:
      name: one of `names()`.
      num_classes: outputs of the head; None for those of the config's data set.
      seed: of the initial parameters.
      **model: other values for keys of the config's section `model`, such as num_latents=256.

    Raises:
      ValueError: another name or key, or sizes that do not fit together.
    """
    values = look_up(_networks(), name, what="network")
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
def _networks() -> dict[str, dict[str, Any]]:
    text = importlib.resources.files(__package__).joinpath("networks.json").read_text("utf-8")
    return json.loads(text)
