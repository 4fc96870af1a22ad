"""Builds networks from plain values: inputs, Perceiver or baseline, parameters and FLOPs.

`model` and `data` are the sections of a config with these names, as plain values like those in a
run's config.json. Only the sizes of the inputs are read from `data`. Values that cannot be used
raise an InputError that names the config's key, before anything is compiled.
"""

import collections
import dataclasses
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver.architecture import Architecture
from perceiver.baselines.costs import resnet_costs, transformer_costs, vit_costs
from perceiver.baselines.encoder import Encoder
from perceiver.baselines.resnet import ResNet
from perceiver.baselines.transformer import Transformer
from perceiver.baselines.vit import ViT
from perceiver.byte_array import ByteArray
from perceiver.costs import Cost, perceiver_costs
from perceiver.errors import InputError
from perceiver.fusion import fused, modality_dropout
from perceiver.modalities import MODALITIES
from perceiver.model import Perceiver
from perceiver.names import look_up, unknown
from perceiver.permutations import permuted
from perceiver.positions import make_positions

Values = Mapping[str, Any]

# Keys of `model` that a network reads.
_ARITHMETIC = ("dtype", "remat")
_PERCEIVER = tuple(field.name for field in dataclasses.fields(Architecture))
_RESNET = ("blocks", "channels")
_ENCODER = ("channels", "layers", "heads", "widening")


def network(
    model: Values, data: Values, num_classes: int, *, axis: str | None = None
) -> hk.TransformedWithState:
    """Builds the network.

    `init(rng, batch)` returns parameters and state. `apply(params, state, rng, batch, is_training)`
    returns class logits [B, num_classes] and the next state; training needs `rng`. `batch_spec`
    describes the batches.

    Args:
      model: kind of network and its sizes.
      data: sizes of the inputs.
      num_classes: number of outputs of the head.
      axis: name of the mapped device axis over which BatchNorm averages in training.

    Raises:
      InputError: sizes that do not fit together.
    """
    kind = _kind(model)

    def forward(batch, is_training=True):
        parts = byte_arrays(model, batch, is_training)
        return kind.classify(model, data, num_classes, parts, is_training, axis)

    transformed = hk.transform_with_state(forward)
    jax.eval_shape(transformed.init, jax.random.key(0), batch_spec(model, data, 1))
    return transformed


def encoder(
    model: Values, *, logits_of: Collection[int] = (), latents_of: Sequence[int] | None = None
) -> hk.Transformed:
    """Builds a Perceiver without its head, for the parameters of `network`.

    `apply(params, None, batch)` returns the latents [B, N, D] and the requested attention logits;
    see `Perceiver.encode` for the arguments.

    Raises:
      InputError: the network is not a Perceiver.
    """
    if model["name"] != "perceiver":
        raise InputError(f"the network is a {model['name']}; only a perceiver has latents and maps")

    def forward(batch):
        parts = byte_arrays(model, batch, is_training=False)
        perceiver = Perceiver(architecture(model), 1, **_values(model, "attention", *_ARITHMETIC))
        return perceiver.encode(parts, logits_of, latents_of)

    return hk.transform(forward)


def architecture(model: Values) -> Architecture:
    """Returns the sizes of a Perceiver."""
    return Architecture(**_values(model, *_PERCEIVER))


def byte_arrays(
    model: Values, batch: Mapping[str, jax.Array], is_training: bool
) -> tuple[ByteArray, ...]:
    """Returns the network's inputs, one byte array per modality, inside a Haiku transform.

    Each modality may be dropped in training and permuted. Several modalities get the same number of
    channels.

    Raises:
      InputError: a key of a modality or of its position encoding that it does not have, or a value
        that cannot be used.
    """
    parts = {}
    for name in modalities_of(model):
        encode = MODALITIES[name].encode
        options = dict(model["inputs"][name])
        dropout = options.pop("dropout")
        part = encode(batch[name], **_encoding_options(encode, options))
        if dropout and is_training:
            part = modality_dropout(part, hk.next_rng_key(), batch["index"], dropout)
        parts[name] = permuted(
            part, model["permutation"], model["permutation_seed"], batch.get("index")
        )
    if len(parts) == 1:
        return tuple(parts.values())
    return fused(
        parts, channels=model["modality_channels"], init_scale=model["modality_init_scale"]
    )


def _encoding_options(encode: Callable[..., ByteArray], options: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a modality's function, with one record for the positions.

    In a config the keys of the position encoding are keys of the modality. Every key that is not an
    argument of the function therefore belongs to the encoding, which raises an error if it has no
    such key.
    """
    if "positions" not in options:
        return options
    arguments = inspect.signature(encode).parameters
    own = {key: value for key, value in options.items() if key not in arguments}
    options = {key: value for key, value in options.items() if key in arguments}
    return options | {"positions": make_positions(options["positions"], **own)}


def modalities_of(model: Values) -> list[str]:
    """Returns the modalities that the network takes, in the order in which they are fused.

    Raises:
      InputError: no modality, an unknown one, or several for a network that takes one.
    """
    modalities = list(model["inputs"])
    if not modalities:
        raise InputError("config.model.inputs is empty; the network takes at least one modality")
    for name in modalities:
        if name not in MODALITIES:
            raise InputError(unknown(name, MODALITIES, what="modality"))
    several = len(modalities) > 1
    if several and model["name"] != "perceiver":
        raise InputError(
            f"config.model.inputs has {modalities}; config.model.name={model['name']} takes "
            "one modality"
        )
    return modalities


def batch_spec(model: Values, data: Values, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of the inputs in a training batch.

    Raises:
      InputError: `data` lacks a size that the shapes depend on.
    """
    specs = {"index": jax.ShapeDtypeStruct((batch_size,), jnp.int32)}
    for name in modalities_of(model):
        modality = MODALITIES[name]
        for key in modality.sizes:
            if key not in data:
                raise InputError(f"config.data has no {key}, which a network for {name} needs")
        spec = modality.spec(**{key: data[key] for key in modality.sizes})
        specs[name] = jax.ShapeDtypeStruct((batch_size, *spec.shape), spec.dtype)
    return specs


def input_spec(model: Values, data: Values) -> tuple[hk.Params, tuple[ByteArray, ...]]:
    """Returns the shapes of the inputs' parameters and of one example's byte arrays."""
    inputs = hk.transform(lambda batch: byte_arrays(model, batch, is_training=False))

    def init_and_apply(batch):
        params = inputs.init(jax.random.key(0), batch)
        return params, inputs.apply(params, None, batch)

    return jax.eval_shape(init_and_apply, batch_spec(model, data, 1))


def costs(model: Values, data: Values, num_classes: int) -> list[Cost]:
    """Returns the parameters and FLOPs of each part of the inputs and the network."""
    params, parts = input_spec(model, data)
    learned: collections.Counter[str] = collections.Counter()
    for _, name, array in hk.data_structures.traverse(params):
        part = {"positions": "learned positions", "encoding": "modality encodings"}
        learned[part.get(name, "learned inputs")] += math.prod(array.shape)
    sizes = dict(
        num_inputs=sum(part.num_inputs for part in parts),
        input_channels=parts[0].channels,
        num_classes=num_classes,
    )
    of_network = _kind(model).costs(model, data, sizes)
    return [Cost(part, count, 0, 1) for part, count in learned.items()] + of_network


def _grid(model: Values, data: Values) -> tuple[int, int]:
    """Returns the rows and columns of the grid on which a baseline for pictures puts its inputs."""
    if model["grid"]:
        grid = tuple(model["grid"])
        if len(grid) != 2 or any(not isinstance(size, int) or size < 1 for size in grid):
            raise InputError(f"config.model.grid={grid}; give rows and columns, as in (44, 44)")
        return grid
    (name,) = modalities_of(model)
    if name not in ("image", "spectrogram"):
        raise InputError(
            f"config.model.grid is empty and {name} is not laid out in rows and columns; "
            "give both, as in (44, 44)"
        )
    return batch_spec(model, data, 1)[name].shape[1:3]


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of network: its keys of `model`, its logits inside a transform, and its costs."""

    keys: tuple[str, ...]
    classify: Callable[[Values, Values, int, tuple[ByteArray, ...], bool, str | None], jax.Array]
    costs: Callable[[Values, Values, dict[str, int]], list[Cost]]


def _kind(model: Values) -> _Kind:
    name = model["name"]
    kind = look_up(_KINDS, name, what="config.model.name")
    for key in kind.keys:
        if key not in model:
            raise InputError(
                f"config.model.name={name} has no config.model.{key} here; "
                "use a variant with that network"
            )
    return kind


def _values(model: Values, *keys: str) -> dict[str, Any]:
    return {key: model[key] for key in keys}


def _perceiver(model, data, num_classes, parts, *_):
    if model["unrolled"] and (len(parts) > 1 or model["permutation"] != "none"):
        raise InputError(
            "config.model.unrolled=True takes one modality, in its own order, but there are "
            f"{modalities_of(model)} and config.model.permutation={model['permutation']}"
        )
    options = _values(model, "attention", *_ARITHMETIC)
    return Perceiver(architecture(model), num_classes, **options)(parts)


def _perceiver_costs(model, data, sizes):
    return perceiver_costs(architecture(model), **sizes)


def _resnet(model, data, num_classes, parts, is_training, axis):
    grid, sizes = _grid(model, data), _values(model, *_RESNET)
    return ResNet(num_classes, grid=grid, axis=axis, **sizes)(parts[0], is_training)


def _encoder(model):
    return Encoder(**_values(model, *_ENCODER, *_ARITHMETIC))


def _vit(model, data, num_classes, parts, *_):
    patches = {"grid": _grid(model, data), "patch": model["patch"]}
    return ViT(num_classes, _encoder(model), **patches)(parts[0])


def _transformer(model, data, num_classes, parts, *_):
    return Transformer(num_classes, _encoder(model))(parts[0])


def _resnet_costs(model, data, sizes):
    grid = _grid(model, data)
    return resnet_costs(grid=grid, **_without_count(sizes), **_values(model, *_RESNET))


def _vit_costs(model, data, sizes):
    grid = _grid(model, data)
    return vit_costs(grid=grid, **_without_count(sizes), **_values(model, *_ENCODER, "patch"))


def _without_count(sizes):
    """Returns the sizes without M, which follows from the grid."""
    return {key: value for key, value in sizes.items() if key != "num_inputs"}


def _transformer_costs(model, data, sizes):
    return transformer_costs(**sizes, **_values(model, *_ENCODER))


_KINDS = {
    "perceiver": _Kind((*_PERCEIVER, "attention", *_ARITHMETIC), _perceiver, _perceiver_costs),
    "resnet": _Kind((*_RESNET, "grid"), _resnet, _resnet_costs),
    "vit": _Kind(("patch", "grid", *_ENCODER, *_ARITHMETIC), _vit, _vit_costs),
    "transformer": _Kind((*_ENCODER, *_ARITHMETIC), _transformer, _transformer_costs),
}
