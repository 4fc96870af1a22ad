"""ImageNet classification: the paper's main experiment (Sec. 4.1, Tables 1 and 7).

    python -m experiments.prepare_data imagenet --archives=DIR --out=data/tfds
    python -m experiments.train --config=configs/imagenet.py --workdir=runs/imagenet
    python -m experiments.train --config=configs/imagenet.py:folder --workdir=runs/imagenet

Pictures come from the TFDS data set in `config.data.dir`; with `:folder` from a folder laid out as
train/<class>/*.JPEG and val/<class>/*.JPEG. Another data set of TFDS is had by
`--config.data.tfds_name=NAME`. `config.model.permutation` gives permuted ImageNet (Table 2).

Should reach 78.0% top-1 (printed in the paper; not run here), 44.9M parameters, 707.2 GFLOPs a
picture. 120 epochs are 150,137 steps; the paper prints no time.

Not printed in the paper, chosen here: batch 1024 (what its users assume), RandAugment's settings,
no weight decay, no gradient clipping, float32.
"""

from ml_collections import ConfigDict

from configs import data
from configs.base import base, check_variant, colours, grid

VARIANTS = {
    "": "Perceiver with Fourier features, weights shared (Tables 1 and 7)",
    "folder": "the same, pictures from a folder",
}


def get_config(variant: str = "") -> ConfigDict:
    """The paper's recipe."""
    check_variant(variant, VARIANTS)
    config = base()

    config.data = data.pictures(image_size=224)
    config.data.num_classes = 1000
    if variant == "folder":
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
    return config
