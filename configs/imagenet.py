"""ImageNet classification: the paper's main experiment (Sec. 4.1, Tables 1, 2, 5, 6 and 7).

    python -m experiments.prepare_data imagenet --archives=DIR --out=data/tfds
    python -m experiments.train --config=configs/imagenet.py --workdir=runs/imagenet
    python -m experiments.train --config=configs/imagenet.py:vit_ff --workdir=runs/vit
    python -m experiments.train --config=configs/imagenet.py:vit_ff,folder --workdir=runs/vit

Pictures come from the TFDS data set in `config.data.dir`. With `,folder` after any variant, or with
`:folder` alone, they come from a folder with the layout train/<class>/*.JPEG and
val/<class>/*.JPEG. `--config.data.tfds_name=NAME` selects another TFDS data set.

Expected top-1 accuracy of the main network, as printed in the paper: 78.0%, with 44.9M parameters
and 707.2 GFLOPs per picture; docs/experiments.md lists all variants. Not run with this project. A
run has 120 epochs, which are 150,137 steps. The paper prints no run time.

Chosen here because the paper does not print it: batch size 1024 (which users of the paper assume),
the settings of RandAugment, no weight decay, no gradient clipping, float32. The paper tuned the
baselines one by one. Here ViT and Transformer use LAMB like the Perceiver, ViT with weight decay
0.1; ResNet uses SGD with momentum, learning rate 0.4 for batches of 1024 and weight decay 1e-4, the
usual recipe for ResNets. `ablation` uses the learning rate of the main network.
"""

from ml_collections import ConfigDict

from configs import data, inputs
from configs.base import Variant, base, check_variant, override

_LEARNED = {"model.num_cross_attends": 1, "model.inputs.image.positions": "learned"}
_RESNET = {
    "model.name": "resnet",
    "optimizer.name": "sgd",
    "optimizer.learning_rate": 0.4,
    "optimizer.weight_decay": 1e-4,
}
_VIT = {"model.name": "vit", "optimizer.weight_decay": 0.1}
_TRANSFORMER = {
    "model.name": "transformer",
    "data.image_size": 64,
    "model.inputs.image.max_resolution": (64.0, 64.0),
}
_RGB = {"model.inputs.image.positions": "none"}  # no Fourier features
_FIXED = {"model.permutation": "fixed"}  # Table 2 uses one order for all pictures
_RANDOM = {"model.permutation": "random"}
_ALONE = {"model.num_towers": 0, "model.share_cross_attends": False}
_AT_START = {"model.cross_attends_at_start": True}
_UNSHARED = {"model.share_cross_attends": False, "model.share_towers": False}

VARIANTS = {
    "": Variant(
        "Perceiver, weights shared (Tables 1, 2, 6 and 7)",
        rows={
            1: "Perceiver (FF)",
            2: "Perceiver (FF), raw",
            6: "8 (interleaved)",
            7: "W/ weight sharing",
        },
    ),
    "learned_positions": Variant(
        "Perceiver with learned positions, one cross-attend (Table 2)",
        _LEARNED,
        {2: "Perceiver (Learned pos.), raw"},
    ),
    "resnet": Variant("ResNet-50 on RGB (Table 1)", {**_RESNET, **_RGB}, {1: "ResNet-50"}),
    "resnet_ff": Variant(
        "ResNet-50 with Fourier features (Tables 1 and 2)",
        _RESNET,
        {1: "ResNet-50 (FF)", 2: "ResNet-50 (FF), raw"},
    ),
    "vit": Variant("ViT-B-16 on RGB (Table 1)", {**_VIT, **_RGB}, {1: "ViT-B-16"}),
    "vit_ff": Variant(
        "ViT-B-16 with Fourier features (Tables 1 and 2)",
        _VIT,
        {1: "ViT-B-16 (FF)", 2: "ViT-B-16 (FF), raw"},
    ),
    "transformer": Variant(
        "Transformer on 64x64 pixels with Fourier features (Tables 1 and 2)",
        _TRANSFORMER,
        {1: "Transformer (64x64, FF)", 2: "Transformer (64x64, FF), raw"},
    ),
    "permuted": Variant(
        "Perceiver, weights shared, pixels in one random order for all pictures (Table 2)",
        _FIXED,
        {2: "Perceiver (FF), permuted"},
    ),
    "permuted_each": Variant(
        "Perceiver, weights shared, pixels in a new random order for each picture", _RANDOM
    ),
    "learned_positions_permuted": Variant(
        "Perceiver with learned positions, one cross-attend, pixels in one random order for all"
        " pictures (Table 2)",
        {**_LEARNED, **_FIXED},
        {2: "Perceiver (Learned pos.), permuted"},
    ),
    "learned_positions_permuted_each": Variant(
        "Perceiver with learned positions, one cross-attend, pixels in a new random order"
        " for each picture",
        {**_LEARNED, **_RANDOM},
    ),
    "resnet_permuted": Variant(
        "ResNet-50 on RGB, pixels in one random order for all pictures",
        {**_RESNET, **_RGB, **_FIXED},
    ),
    "resnet_permuted_each": Variant(
        "ResNet-50 on RGB, pixels in a new random order for each picture",
        {**_RESNET, **_RGB, **_RANDOM},
    ),
    "resnet_ff_permuted": Variant(
        "ResNet-50 with Fourier features, pixels in one random order for all pictures (Table 2)",
        {**_RESNET, **_FIXED},
        {2: "ResNet-50 (FF), permuted"},
    ),
    "resnet_ff_permuted_each": Variant(
        "ResNet-50 with Fourier features, pixels in a new random order for each picture",
        {**_RESNET, **_RANDOM},
    ),
    "vit_permuted": Variant(
        "ViT-B-16 on RGB, pixels in one random order for all pictures",
        {**_VIT, **_RGB, **_FIXED},
    ),
    "vit_permuted_each": Variant(
        "ViT-B-16 on RGB, pixels in a new random order for each picture",
        {**_VIT, **_RGB, **_RANDOM},
    ),
    "vit_ff_permuted": Variant(
        "ViT-B-16 with Fourier features, pixels in one random order for all pictures (Table 2)",
        {**_VIT, **_FIXED},
        {2: "ViT-B-16 (FF), permuted"},
    ),
    "vit_ff_permuted_each": Variant(
        "ViT-B-16 with Fourier features, pixels in a new random order for each picture",
        {**_VIT, **_RANDOM},
    ),
    "transformer_permuted": Variant(
        "Transformer on 64x64 pixels with Fourier features, pixels in one random order for all"
        " pictures (Table 2)",
        {**_TRANSFORMER, **_FIXED},
        {2: "Transformer (64x64, FF), permuted"},
    ),
    "transformer_permuted_each": Variant(
        "Transformer on 64x64 pixels with Fourier features, pixels in a new random order"
        " for each picture",
        {**_TRANSFORMER, **_RANDOM},
    ),
    "cross_attends_alone_4": Variant(
        "4 cross-attends without towers, unshared (Table 5)",
        {**_ALONE, "model.num_cross_attends": 4},
        {5: "4"},
    ),
    "cross_attends_alone_8": Variant(
        "8 cross-attends without towers, unshared (Table 5)",
        {**_ALONE, "model.num_cross_attends": 8},
        {5: "8"},
    ),
    "cross_attends_alone_12": Variant(
        "12 cross-attends without towers, unshared (Table 5)",
        {**_ALONE, "model.num_cross_attends": 12},
        {5: "12"},
    ),
    "cross_attends_1_at_start": Variant(
        "cross-attends: 1, at the start (Table 6)",
        {**_AT_START, "model.num_cross_attends": 1},
        {6: "1 (at start)"},
    ),
    "cross_attends_1": Variant(
        "cross-attends: 1, interleaved (Table 6)",
        {"model.num_cross_attends": 1},
        {6: "1 (interleaved)"},
    ),
    "cross_attends_2_at_start": Variant(
        "cross-attends: 2, at the start (Table 6)",
        {**_AT_START, "model.num_cross_attends": 2},
        {6: "2 (at start)"},
    ),
    "cross_attends_2": Variant(
        "cross-attends: 2, interleaved (Table 6)",
        {"model.num_cross_attends": 2},
        {6: "2 (interleaved)"},
    ),
    "cross_attends_4_at_start": Variant(
        "cross-attends: 4, at the start (Table 6)",
        {**_AT_START, "model.num_cross_attends": 4},
        {6: "4 (at start)"},
    ),
    "cross_attends_4": Variant(
        "cross-attends: 4, interleaved (Table 6)",
        {"model.num_cross_attends": 4},
        {6: "4 (interleaved)"},
    ),
    "cross_attends_8_at_start": Variant(
        "cross-attends: 8, at the start (Table 6)",
        {**_AT_START, "model.num_cross_attends": 8},
        {6: "8 (at start)"},
    ),
    "unshared": Variant("Perceiver, nothing shared (Table 7)", _UNSHARED, {7: "No weight sharing"}),
    "ablation": Variant(
        "the small Perceiver that Figure 5 sweeps around (App. B)",
        {
            **_UNSHARED,
            "model.num_latents": 512,
            "model.latent_channels": 512,
            "model.num_cross_attends": 2,
            "model.num_towers": 2,
            "model.self_attends_per_tower": 4,
            "train.batch_size": 64,
            "train.epochs": None,
            "train.steps": 5_000_000,
            # The same fractions of the run as epochs 84, 102 and 114 of 120.
            "optimizer.boundaries_epochs": (),
            "optimizer.boundaries": (3_500_000, 4_250_000, 4_750_000),
        },
    ),
    "folder": Variant(
        "the main network, pictures from a folder; also after another: vit_ff,folder",
        {"data.name": "image_folder"},
    ),
}


def get_config(variant: str = "") -> ConfigDict:
    """Returns the paper's recipe with a variant's overrides; ',folder' may follow the variant."""
    name, comma, source = variant.partition(",")
    if comma:
        check_variant(source, {"folder": VARIANTS["folder"]})
        check_variant(name, {key: value for key, value in VARIANTS.items() if key != "folder"})
    check_variant(name, VARIANTS)
    overrides = {**VARIANTS[name].overrides, **(VARIANTS["folder"].overrides if comma else {})}
    config = base()

    values = {"num_classes": 1000, "image_size": 224}
    if overrides.get("data.name") == "image_folder":
        config.data = data.pictures("image_folder", dir="data/imagenet", **values)
        data.add_split(config.data)
    else:
        config.data = data.pictures("tfds_images", dir="data/tfds", **values)
        config.data.tfds_name = "imagenet2012"  # name of a TFDS data set: name or name/config
        config.data.train_split = "train"  # split to train on
        config.data.eval_split = "validation"  # split to evaluate on

    config.model.inputs.image = inputs.image(bands=64, max_resolution=(224.0, 224.0))

    config.optimizer.learning_rate = 0.004

    config.train.batch_size = 1024
    config.train.epochs = 120.0
    config.train.eval_every_epochs = 1.0
    config.train.checkpoint_every = 500

    config.eval.batch_size = 1024

    recipe = {
        "optimizer.schedule": "step",
        "optimizer.boundaries_epochs": (84.0, 102.0, 114.0),
    }
    override(config, {**recipe, **overrides})
    return config
