"""ImageNet classification: the paper's main experiment (Sec. 4.1, Tables 1, 2, 5, 6 and 7).

    python -m experiments.prepare_data imagenet --archives=DIR --out=data/tfds
    python -m experiments.train --config=configs/imagenet.py --workdir=runs/imagenet
    python -m experiments.train --config=configs/imagenet.py:vit_ff --workdir=runs/vit
    python -m experiments.train --config=configs/imagenet.py:vit_ff,folder --workdir=runs/vit

Pictures come from the TFDS data set in `config.data.dir`; with `,folder` after any variant, or
`:folder` alone, from a folder laid out as train/<class>/*.JPEG and val/<class>/*.JPEG. Another data
set of TFDS is had by `--config.data.tfds_name=NAME`.

The main network should reach 78.0% top-1 (printed in the paper; not run here), 44.9M parameters,
707.2 GFLOPs a picture. 120 epochs are 150,137 steps; the paper prints no time. docs/experiments.md
has what each variant should reach, and its size.

Not printed in the paper, chosen here: batch 1024 (what its users assume), RandAugment's settings,
no weight decay, no gradient clipping, float32; of the baselines, which the paper tuned one by one:
LAMB as for the Perceiver for ViT and Transformer, with 0.1 weight decay for ViT; for ResNet SGD
with momentum, 0.4 for a batch of 1024, and decay 1e-4, as ResNets are trained. `ablation` has the
learning rate of the others.
"""

from ml_collections import ConfigDict

from configs import data, models
from configs.base import base, check_variant, colours, grid

# The networks, and whether their inputs have Fourier features.
_NETWORKS = {
    "": "Perceiver, weights shared (Tables 1, 2, 6 and 7)",
    "learned_positions": "Perceiver with learned positions, one cross-attend (Table 2)",
    "resnet": "ResNet-50 on RGB (Table 1)",
    "resnet_ff": "ResNet-50 with Fourier features (Tables 1 and 2)",
    "vit": "ViT-B-16 on RGB (Table 1)",
    "vit_ff": "ViT-B-16 with Fourier features (Tables 1 and 2)",
    "transformer": "Transformer on 64x64 pixels with Fourier features (Tables 1 and 2)",
}
_PERMUTED = {
    "permuted": ("fixed", "pixels in one random order for all pictures"),
    "permuted_each": ("random", "pixels in a random order of each picture's own"),
}
_ALONE = {f"cross_attends_alone_{n}": n for n in (4, 8, 12)}
_ARRANGED = {
    f"cross_attends_{n}{'_at_start' if start else ''}": (n, start)
    for n in (1, 2, 4, 8)
    for start in (True, False)
    if (n, start) != (8, False)  # which is the main network
}

# Every network with pixels in their order, and permuted: variant, its network, the permutation.
_PLAIN = {name: (name, "none") for name in _NETWORKS}
_REORDERED = {
    f"{name}_{suffix}".lstrip("_"): (name, permutation)
    for name in _NETWORKS
    for suffix, (permutation, _) in _PERMUTED.items()
}


def _about(name: str, suffix: str) -> str:
    """What a permuted variant is. Table 2 has one order for all, and Fourier features."""
    printed = suffix == "permuted" and name not in ("resnet", "vit")
    network = _NETWORKS[name].split(" (")[0]
    return f"{network}, {_PERMUTED[suffix][1]}{' (Table 2)' if printed else ''}"


_EXPERIMENTS = (
    _NETWORKS
    | {
        f"{name}_{suffix}".lstrip("_"): _about(name, suffix)
        for name in _NETWORKS
        for suffix in _PERMUTED
    }
    | {name: f"{n} cross-attends without towers, unshared (Table 5)" for name, n in _ALONE.items()}
    | {
        name: f"cross-attends: {n}, {'at the start' if start else 'interleaved'} (Table 6)"
        for name, (n, start) in _ARRANGED.items()
    }
    | {
        "unshared": "Perceiver, nothing shared (Table 7)",
        "ablation": "the small Perceiver that Figure 5 sweeps around (App. B)",
    }
)
_FROM_A_FOLDER = "the main network, pictures from a folder; also after another: vit_ff,folder"
VARIANTS = _EXPERIMENTS | {"folder": _FROM_A_FOLDER}


def get_config(variant: str = "") -> ConfigDict:
    """The paper's recipe."""
    name, comma, source = (",folder" if variant == "folder" else variant).partition(",")
    if comma:
        check_variant(source, {"folder": _FROM_A_FOLDER})
    check_variant(name, _EXPERIMENTS if comma else VARIANTS)
    config = base()

    config.data = data.pictures(image_size=224)
    config.data.num_classes = 1000
    if source:
        config.data.name = "image_folder"
        config.data.dir = "data/imagenet"
        config.data.val_fraction = 0.1  # only where the folder has no val/
        config.data.split_seed = 0
    else:
        config.data.name = "tfds_images"
        config.data.tfds_name = "imagenet2012"
        config.data.dir = "data/tfds"
        config.data.train_split = "train"
        config.data.eval_split = "validation"

    config.model.inputs.image = grid(bands=64, max_resolution=(224.0, 224.0), **colours())

    config.optimizer.learning_rate = 0.004
    config.optimizer.schedule = "step"
    config.optimizer.boundaries_epochs = (84.0, 102.0, 114.0)

    config.train.batch_size = 1024
    config.train.epochs = 120.0
    config.train.eval_every_epochs = 1.0
    config.train.checkpoint_every = 500

    config.eval.batch_size = 1024

    name, config.model.permutation = (_PLAIN | _REORDERED).get(name, (name, "none"))
    if name in _ALONE:
        config.model.num_cross_attends = _ALONE[name]
        config.model.num_towers = 0
        config.model.share_cross_attends = False
    elif name in _ARRANGED:
        config.model.num_cross_attends, config.model.cross_attends_at_start = _ARRANGED[name]
    elif name == "unshared":
        config.model.share_cross_attends = config.model.share_towers = False
    elif name == "learned_positions":
        config.model.num_cross_attends = 1
        config.model.inputs.image.positions = "learned"
    elif name == "ablation":
        _ablation(config)
    elif name.startswith(("resnet", "vit", "transformer")):
        _baseline(config, name)
    return config


def _ablation(config: ConfigDict) -> None:
    """App. B."""
    config.model.num_latents = 512
    config.model.latent_channels = 512
    config.model.num_cross_attends = 2
    config.model.num_towers = 2
    config.model.self_attends_per_tower = 4
    config.model.share_cross_attends = config.model.share_towers = False
    config.train.batch_size = 64
    config.train.epochs = None
    config.train.steps = 5_000_000
    # As far into the run as those of 120 epochs.
    config.optimizer.boundaries_epochs = ()
    config.optimizer.boundaries = (3_500_000, 4_250_000, 4_750_000)


def _baseline(config: ConfigDict, name: str) -> None:
    kind, _, features = name.partition("_")
    if kind == "resnet":
        models.set_network(config, models.resnet())
        config.optimizer.name = "sgd"
        config.optimizer.learning_rate = 0.4
        config.optimizer.weight_decay = 1e-4
    elif kind == "vit":
        models.set_network(config, models.vit())
        config.optimizer.weight_decay = 0.1
    else:
        models.set_network(config, models.transformer())
        config.data.image_size = 64
        config.model.inputs.image.max_resolution = (64.0, 64.0)
    if kind != "transformer" and not features:
        config.model.inputs.image.positions = "none"
