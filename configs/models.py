"""The section `config.model` for each kind of network: a Perceiver, or a baseline of the paper.

`base()` uses the Perceiver. A variant chooses another network by the override "model.name".
"""

from ml_collections import ConfigDict

from configs import choices


def perceiver() -> ConfigDict:
    """Keys of a Perceiver; the values are those of the ImageNet network (Sec. 4.1)."""
    model = _common("perceiver")
    model.num_latents = 512  # N, number of latent vectors
    model.latent_channels = 1024  # D, channels of a latent vector
    model.num_cross_attends = 8  # number of cross-attends
    # True: all cross-attends before the first tower; False: spread evenly between the towers.
    model.cross_attends_at_start = False
    # True: each cross-attend attends to its own share of the inputs (temporal unrolling, Sec. 4.2).
    model.unrolled = False
    model.num_towers = 8  # number of latent Transformer towers; 0 for cross-attends alone
    model.self_attends_per_tower = 6  # number of self-attends per tower
    model.cross_heads = 1  # heads of a cross-attend
    model.self_heads = 8  # heads of a self-attend
    model.share_cross_attends = True  # all cross-attends after the first share their weights
    model.share_towers = True  # all towers share their weights
    model.dense_widening = 1  # hidden channels of a dense block, as a multiple of its channels
    model.latent_init_scale = 0.02  # standard deviation of the initial latents
    # Channels of the modality encoding of the widest modality, if several are fused.
    model.modality_channels = 4
    # Standard deviation of the initial modality encodings (not printed in the paper).
    model.modality_init_scale = 0.02
    # Implementation of the cross-attends: dense, blockwise, separable, or auto by device and size.
    # All give the same numbers.
    model.attention = "auto"
    _arithmetic(model)
    return model


def resnet() -> ConfigDict:
    """Keys of a ResNet; the values are those of ResNet-50 (He et al., 2016)."""
    model = _common("resnet")
    model.blocks = (3, 4, 6, 3)  # number of blocks in each of the four groups
    model.channels = (256, 512, 1024, 2048)  # output channels of the blocks in each group
    _grid(model)
    return model


def vit() -> ConfigDict:
    """Keys of a ViT; the values are those of ViT-B-16 without dropout."""
    model = _common("vit")
    model.patch = 16  # rows and columns of a patch
    _encoder(model, channels=768, layers=12, heads=12, widening=4)
    _grid(model)
    _arithmetic(model)
    return model


def transformer() -> ConfigDict:
    """Keys of a Transformer over all inputs, with the architecture of the latent one (Sec. 4.1).

    The paper does not print its sizes; they are chosen here.
    """
    model = _common("transformer")
    _encoder(model, channels=512, layers=8, heads=8, widening=1)
    _arithmetic(model)
    return model


_NETWORKS = {
    "perceiver": perceiver,
    "resnet": resnet,
    "vit": vit,
    "transformer": transformer,
}

# Overrides for baselines that a CPU can train; the sizes are chosen here.
SMALL_RESNET = {
    "model.name": "resnet",
    "model.blocks": (1, 1, 1, 1),
    "model.channels": (64, 128, 256, 512),
}
SMALL_VIT = {
    "model.name": "vit",
    "model.channels": 128,
    "model.layers": 6,
    "model.heads": 8,
}
SMALL_TRANSFORMER = {
    "model.name": "transformer",
    "model.channels": 128,
    "model.layers": 3,
}


def set_network(config: ConfigDict, name: str) -> None:
    """Replaces the network of a config by another kind with the same inputs.

    Raises:
      ValueError: the kind is unknown; the message names the nearest one.
    """
    if name not in _NETWORKS:
        raise ValueError(choices.unknown(name, _NETWORKS, what="config.model.name"))
    model = _NETWORKS[name]()
    for key in ("inputs", "permutation", "permutation_seed"):
        model[key] = config.model[key]
    config.model = model


def _common(name: str) -> ConfigDict:
    """Keys of every network."""
    model = ConfigDict()
    # Network: perceiver, resnet, vit or transformer. To change it, use a variant with that network.
    model.name = name
    model.inputs = ConfigDict()
    # Order of the inputs: none, fixed (one random order for all examples, Table 2) or random (a
    # new one for each example).
    model.permutation = "none"
    model.permutation_seed = 0  # seed of the permutation, at least 0
    return model


def _encoder(model: ConfigDict, *, channels: int, layers: int, heads: int, widening: int) -> None:
    """Keys of ViT and Transformer."""
    model.channels = channels  # channels of an input vector
    model.layers = layers  # number of self-attends
    model.heads = heads  # heads of a self-attend
    model.widening = widening  # hidden channels of a dense block, as a multiple of its channels


def _grid(model: ConfigDict) -> None:
    """Keys of networks for inputs on a grid."""
    # Rows and columns of the grid on which the inputs are placed; () for the grid of the input.
    model.grid = ()


def _arithmetic(model: ConfigDict) -> None:
    """Keys of the networks with attention."""
    model.dtype = "float32"  # dtype of activations and matrix products: float32 or bfloat16
    # Recomputation in the backward pass: none, elementwise (everything but matrix products) or
    # block (whole blocks).
    model.remat = "elementwise"
