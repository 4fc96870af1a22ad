"""The section `config.model` of each kind of network: a Perceiver, or a baseline of the paper.

`base()` has the Perceiver's; `set_network` puts another in its place, with the same inputs.
"""

from ml_collections import ConfigDict


def perceiver() -> ConfigDict:
    """Sec. 4.1: the ImageNet network."""
    model = _any("perceiver")
    model.num_latents = 512
    model.latent_channels = 1024
    model.num_cross_attends = 8
    model.cross_attends_at_start = False
    model.unrolled = False  # or each cross-attend has its own share of the inputs (Sec. 4.2)
    model.num_towers = 8
    model.self_attends_per_tower = 6
    model.cross_heads = 1
    model.self_heads = 8
    model.share_cross_attends = True
    model.share_towers = True
    model.dense_widening = 1
    model.latent_init_scale = 0.02
    model.modality_channels = 4  # of the widest modality's encoding, where several are fused
    model.modality_init_scale = 0.02  # not printed in the paper
    # How cross-attends are computed, to the same numbers: dense, blockwise, separable, or auto.
    model.attention = "auto"
    _arithmetic(model)
    return model


def resnet() -> ConfigDict:
    """ResNet-50 (He et al., 2016)."""
    model = _any("resnet")
    model.blocks = (3, 4, 6, 3)  # of each of the four groups
    model.channels = (256, 512, 1024, 2048)
    model.grid = ()  # rows and columns; empty for the inputs' own
    return model


def vit(patch: int = 16) -> ConfigDict:
    """ViT-B (Dosovitskiy et al., 2021), without dropout."""
    model = _any("vit")
    model.patch = patch  # rows and columns of a patch
    model.channels = 768
    model.layers = 12
    model.heads = 12
    model.widening = 4
    model.grid = ()  # as of resnet()
    _arithmetic(model)
    return model


def transformer() -> ConfigDict:
    """Every input a vector of a Transformer with the architecture of the latent one (Sec. 4.1).

    The paper prints none of its sizes; chosen here.
    """
    model = _any("transformer")
    model.channels = 512
    model.layers = 8
    model.heads = 8
    model.widening = 1
    _arithmetic(model)
    return model


def small_resnet() -> ConfigDict:
    """A ResNet that a CPU trains, of four blocks; chosen here, as the others."""
    model = resnet()
    model.blocks = (1, 1, 1, 1)
    model.channels = (64, 128, 256, 512)
    return model


def small_vit(patch: int) -> ConfigDict:
    """A ViT that a CPU trains."""
    model = vit(patch)
    model.channels = 128
    model.layers = 6
    model.heads = 8
    return model


def small_transformer() -> ConfigDict:
    """A Transformer that a CPU trains."""
    model = transformer()
    model.channels = 128
    model.layers = 3
    return model


def set_network(config: ConfigDict, model: ConfigDict) -> None:
    """Replaces the network of a config by another with the same inputs."""
    for key in ("inputs", "permutation", "permutation_seed"):
        model[key] = config.model[key]
    config.model = model


def _any(name: str) -> ConfigDict:
    """What every network has."""
    model = ConfigDict()
    model.name = name
    model.inputs = ConfigDict()  # for each modality its normalisation and its positions
    model.permutation = "none"  # of the inputs: or fixed, as in Table 2, or random
    model.permutation_seed = 0
    return model


def _arithmetic(model: ConfigDict) -> None:
    model.dtype = "float32"  # or bfloat16: activations and products
    # What the backward pass computes again: none, elementwise (all but matrix products) or block.
    model.remat = "elementwise"
