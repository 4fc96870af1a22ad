"""ImageNet classification: the paper's main experiment (Sec. 4.1, Tables 1 and 7).

    python -m experiments.train --config=configs/imagenet.py --workdir=runs/imagenet

Pictures are read from `config.data.dir`, laid out as train/<class>/*.JPEG and val/<class>/*.JPEG.
Should reach 78.0% top-1 (printed in the paper; not run here), 44.9M parameters, 707.2 GFLOPs a
picture. 120 epochs are 150,137 steps; the paper prints no time.

Not printed in the paper, chosen here: batch 1024 (what its users assume), no weight decay, no
gradient clipping, float32.
"""

from ml_collections import ConfigDict

from configs.base import base, check_variant, image

VARIANTS = {"": "Perceiver with Fourier features, weights shared (Tables 1 and 7)"}


def get_config(variant: str = "") -> ConfigDict:
    """The paper's recipe."""
    check_variant(variant, VARIANTS)
    config = base()

    config.data = ConfigDict()
    config.data.name = "image_folder"
    config.data.dir = "data/imagenet"
    config.data.num_classes = 1000
    config.data.image_size = 224
    config.data.channels = 3
    config.data.val_fraction = 0.1  # only where the folder has no val/
    config.data.split_seed = 0
    config.data.crop_area = (0.08, 1.0)  # Inception-style (Szegedy et al., 2015)
    config.data.crop_aspect = (3 / 4, 4 / 3)
    config.data.flip = True
    config.data.mean = (0.485, 0.456, 0.406)
    config.data.std = (0.229, 0.224, 0.225)

    config.model.inputs.image = image(bands=64, max_resolution=(224.0, 224.0))

    config.optimizer.learning_rate = 0.004
    config.optimizer.schedule = "step"
    config.optimizer.boundaries_epochs = (84.0, 102.0, 114.0)

    config.train.batch_size = 1024
    config.train.epochs = 120.0
    config.train.eval_every_epochs = 1.0
    config.train.checkpoint_every = 500

    config.eval.batch_size = 1024
    return config
