"""From a config to its network: inputs, Perceiver or baseline, parameters and FLOPs.

What a config asks for and can't be had is a `UserError` here, before anything is compiled.
"""

import collections
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.command_line import UserError, user_values
from perceiver.architecture import Architecture
from perceiver.baselines.costs import resnet_costs, transformer_costs, vit_costs
from perceiver.baselines.encoder import Encoder
from perceiver.baselines.resnet import ResNet
from perceiver.baselines.transformer import Transformer
from perceiver.baselines.vit import ViT
from perceiver.byte_array import ByteArray
from perceiver.costs import Cost, perceiver_costs
from perceiver.fusion import fused, modality_dropout
from perceiver.modalities import MODALITIES
from perceiver.model import Perceiver
from perceiver.names import look_up, unknown
from perceiver.permutations import permuted
from perceiver.training.parallel import AXIS
from perceiver.training.step import Variables

# Keys of `config.model`.
_ARITHMETIC = ("dtype", "remat")
_PERCEIVER = tuple(field.name for field in dataclasses.fields(Architecture))
_RESNET = ("blocks", "channels")
_ENCODER = ("channels", "layers", "heads", "widening")


def network(config: ConfigDict, num_classes: int) -> hk.TransformedWithState:
    """The network.

    `init(rng, batch)` gives parameters and state; `apply(params, state, rng, batch, is_training)`
    class logits [B, num_classes] and the next state. Batches are such as `batch_spec` describes;
    in training, `rng` is needed and the axis of devices must be mapped.

    Raises:
      UserError: sizes that do not fit together.
    """
    classify = _of(config).classify

    def forward(batch, is_training=True):
        return classify(config, num_classes, byte_arrays(config, batch, is_training), is_training)

    transformed = hk.transform_with_state(forward)
    user_values(jax.eval_shape, transformed.init, jax.random.key(0), batch_spec(config, 1))
    return transformed


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
    return user_values(Architecture, **_values(config, *_PERCEIVER))


def byte_arrays(
    config: ConfigDict, batch: dict[str, jax.Array], is_training: bool
) -> tuple[ByteArray, ...]:
    """The network's inputs, a byte array a modality, inside a Haiku transform.

    Each modality may be dropped, in training, and put in another order; last, where there are
    several, they are made equally wide.
    """
    parts = {}
    for name in modalities_of(config):
        options = config.model.inputs[name].to_dict()
        dropout = options.pop("dropout")
        part = MODALITIES[name].encode(batch[name], **options)
        if dropout and is_training:
            part = modality_dropout(part, hk.next_rng_key(), batch["index"], dropout)
        parts[name] = permuted(
            part, config.model.permutation, config.model.permutation_seed, batch.get("index")
        )
    if len(parts) == 1:
        return tuple(parts.values())
    return fused(
        parts,
        channels=config.model.modality_channels,
        init_scale=config.model.modality_init_scale,
    )


def modalities_of(config: ConfigDict) -> list[str]:
    """The modalities that the network takes, in the order in which they are fused.

    Raises:
      UserError: none, an unknown one, or several for a network that takes one.
    """
    modalities = list(config.model.inputs)
    if not modalities:
        raise UserError("config.model.inputs is empty; the network takes at least one modality")
    for name in modalities:
        if name not in MODALITIES:
            raise UserError(unknown(name, MODALITIES, what="modality"))
    several = len(modalities) > 1
    if several and config.model.name != "perceiver":
        raise UserError(
            f"config.model.inputs has {modalities}; config.model.name={config.model.name} takes "
            "one modality"
        )
    return modalities


def batch_spec(config: ConfigDict, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what the network takes of a training batch, as the config has them.

    Raises:
      UserError: the config's data have no such sizes.
    """
    specs = {"index": jax.ShapeDtypeStruct((batch_size,), jnp.int32)}
    for name in modalities_of(config):
        modality = MODALITIES[name]
        for key in modality.sizes:
            if key not in config.data:
                raise UserError(f"config.data has no {key}, which a network for {name} goes by")
        spec = modality.spec(**{key: config.data[key] for key in modality.sizes})
        specs[name] = jax.ShapeDtypeStruct((batch_size, *spec.shape), spec.dtype)
    return specs


def input_spec(config: ConfigDict) -> tuple[hk.Params, tuple[ByteArray, ...]]:
    """Shapes of what the inputs learn, such as positions, and of one example's byte arrays."""
    inputs = hk.transform(lambda batch: byte_arrays(config, batch, is_training=False))

    def made(batch):
        params = inputs.init(jax.random.key(0), batch)
        return params, inputs.apply(params, None, batch)

    return user_values(jax.eval_shape, made, batch_spec(config, 1))


def costs(config: ConfigDict, num_classes: int) -> list[Cost]:
    """Parameters and FLOPs of inputs and network, part by part."""
    params, parts = input_spec(config)
    learned = collections.Counter()
    for _, name, array in hk.data_structures.traverse(params):
        part = {"positions": "learned positions", "encoding": "modality encodings"}
        learned[part.get(name, "learned inputs")] += math.prod(array.shape)
    sizes = dict(
        num_inputs=sum(part.num_inputs for part in parts),
        input_channels=parts[0].channels,
        num_classes=num_classes,
    )
    of_network = user_values(_of(config).costs, config, sizes)
    return [Cost(part, count, 0, 1) for part, count in learned.items()] + of_network


def _grid(config: ConfigDict) -> tuple[int, int]:
    """Rows and columns that a baseline for pictures lays its inputs on."""
    if config.model.grid:
        grid = tuple(config.model.grid)
        if len(grid) != 2 or any(not isinstance(size, int) or size < 1 for size in grid):
            raise UserError(f"config.model.grid={grid}; give rows and columns, as in (44, 44)")
        return grid
    (name,) = modalities_of(config)
    if name not in ("image", "spectrogram"):
        raise UserError(
            f"config.model.grid is empty and {name} is not laid out in rows and columns; "
            "give both, as in (44, 44)"
        )
    return batch_spec(config, 1)[name].shape[1:3]


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of network: its keys of `config.model`, logits inside a transform, and costs."""

    keys: tuple[str, ...]
    classify: Callable[[ConfigDict, int, tuple[ByteArray, ...], bool], jax.Array]
    costs: Callable[[ConfigDict, dict[str, int]], list[Cost]]


def _of(config: ConfigDict) -> _Kind:
    name = config.model.name
    kind = user_values(look_up, _KINDS, name, what="config.model.name")
    for key in kind.keys:
        if key not in config.model:
            raise UserError(
                f"config.model.name={name} has no config.model.{key} here; take a variant that has "
                "that network"
            )
    return kind


def _values(config: ConfigDict, *keys: str) -> dict[str, Any]:
    return {key: config.model[key] for key in keys}


def _perceiver(config, num_classes, parts, _):
    if config.model.unrolled and (len(parts) > 1 or config.model.permutation != "none"):
        raise UserError(
            "config.model.unrolled=True takes one modality, in its own order: it has "
            f"{modalities_of(config)} and config.model.permutation={config.model.permutation}"
        )
    how = _values(config, "attention", *_ARITHMETIC)
    model = Perceiver(architecture(config), num_classes, **how)
    return model(parts)


def _perceiver_costs(config, sizes):
    return perceiver_costs(architecture(config), **sizes)


def _resnet(config, num_classes, parts, is_training):
    model = ResNet(num_classes, grid=_grid(config), axis=AXIS, **_values(config, *_RESNET))
    return model(parts[0], is_training)


def _encoder(config):
    return Encoder(**_values(config, *_ENCODER, *_ARITHMETIC))


def _vit(config, num_classes, parts, _):
    patches = {"grid": _grid(config), "patch": config.model.patch}
    return ViT(num_classes, _encoder(config), **patches)(parts[0])


def _transformer(config, num_classes, parts, _):
    return Transformer(num_classes, _encoder(config))(parts[0])


def _resnet_costs(config, sizes):
    return resnet_costs(grid=_grid(config), **_without_count(sizes), **_values(config, *_RESNET))


def _vit_costs(config, sizes):
    return vit_costs(
        grid=_grid(config), **_without_count(sizes), **_values(config, *_ENCODER, "patch")
    )


def _without_count(sizes):
    """Sizes without M, which the grid says."""
    return {key: value for key, value in sizes.items() if key != "num_inputs"}


def _transformer_costs(config, sizes):
    return transformer_costs(**sizes, **_values(config, *_ENCODER))


_KINDS = {
    "perceiver": _Kind((*_PERCEIVER, "attention", *_ARITHMETIC), _perceiver, _perceiver_costs),
    "resnet": _Kind((*_RESNET, "grid"), _resnet, _resnet_costs),
    "vit": _Kind(("patch", "grid", *_ENCODER, *_ARITHMETIC), _vit, _vit_costs),
    "transformer": _Kind((*_ENCODER, *_ARITHMETIC), _transformer, _transformer_costs),
}
