"""From a config to its network, see `perceiver.networks`.

What a config asks for and can't be had is an `InputError` here, before anything is compiled.
"""

from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from perceiver import networks
from perceiver.architecture import Architecture
from perceiver.byte_array import ByteArray
from perceiver.costs import Cost
from perceiver.training.parallel import AXIS
from perceiver.training.step import Variables


def network(config: ConfigDict, num_classes: int) -> hk.TransformedWithState:
    """The network, which in training needs the axis of devices mapped.

    Raises:
      InputError: sizes that do not fit together.
    """
    return networks.network(*_sections(config), num_classes, axis=AXIS)


def predictor(
    transformed: hk.TransformedWithState,
) -> Callable[[Variables, dict[str, jax.Array]], jax.Array]:
    """Class logits in evaluation, as a function of `Variables` and a batch."""

    def predict(variables, batch):
        return transformed.apply(variables.params, variables.state, None, batch, False)[0]

    return predict


def initial_variables(transformed: hk.TransformedWithState, config: ConfigDict) -> Variables:
    """The variables before the first step, from the config's seed alone."""
    batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), batch_spec(config, 1))
    return Variables(*transformed.init(jax.random.key(config.train.seed), batch))


def architecture(config: ConfigDict) -> Architecture:
    """The sizes of a Perceiver."""
    return networks.architecture(config.model.to_dict())


def byte_arrays(
    config: ConfigDict, batch: dict[str, jax.Array], is_training: bool
) -> tuple[ByteArray, ...]:
    """The network's inputs, a byte array a modality, inside a Haiku transform."""
    return networks.byte_arrays(config.model.to_dict(), batch, is_training)


def modalities_of(config: ConfigDict) -> list[str]:
    """The modalities that the network takes, in the order in which they are fused.

    Raises:
      InputError: none, an unknown one, or several for a network that takes one.
    """
    return networks.modalities_of(config.model.to_dict())


def batch_spec(config: ConfigDict, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what the network takes of a training batch, as the config has them.

    Raises:
      InputError: the config's data have no such sizes.
    """
    return networks.batch_spec(*_sections(config), batch_size)


def input_spec(config: ConfigDict) -> tuple[hk.Params, tuple[ByteArray, ...]]:
    """Shapes of what the inputs learn, such as positions, and of one example's byte arrays."""
    return networks.input_spec(*_sections(config))


def costs(config: ConfigDict, num_classes: int) -> list[Cost]:
    """Parameters and FLOPs of inputs and network, part by part."""
    return networks.costs(*_sections(config), num_classes)


def _sections(config: ConfigDict) -> tuple[dict, dict]:
    return config.model.to_dict(), config.data.to_dict()
