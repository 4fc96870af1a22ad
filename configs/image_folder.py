"""Any folder of pictures, one folder a class: training on one's own data.

    python -m experiments.train --config=configs/image_folder.py --workdir=runs/mine \
        --config.data.dir=FOLDER

FOLDER holds train/<class>/*.jpg and val/<class>/*.jpg, or <class>/*.jpg, of which
`config.data.val_fraction` is then held out. JPEG and PNG. What it reaches is up to the
data: 480 pictures of 4 classes of Imagenette gave 63.75% on 160 others, in 11 minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.base import base, check_variant, image

VARIANTS = {"": "a small Perceiver on 64x64 pictures"}


def get_config(variant: str = "") -> ConfigDict:
    """A network and a recipe for a small data set and a CPU; raise the sizes for more."""
    check_variant(variant, VARIANTS)
    config = base()

    config.data = ConfigDict()
    config.data.name = "image_folder"
    config.data.dir = "data/pictures"
    config.data.num_classes = 10  # assumed where the folder is not at hand, for tables of sizes
    config.data.image_size = 64
    config.data.channels = 3
    config.data.val_fraction = 0.1
    config.data.split_seed = 0
    config.data.crop_area = (0.3, 1.0)
    config.data.crop_aspect = (3 / 4, 4 / 3)
    config.data.flip = True
    config.data.mean = (0.485, 0.456, 0.406)
    config.data.std = (0.229, 0.224, 0.225)

    config.model.num_latents = 64
    config.model.latent_channels = 128
    config.model.num_cross_attends = 2
    config.model.num_towers = 2
    config.model.self_attends_per_tower = 3
    config.model.latent_init_scale = 0.5
    config.model.inputs.image = image(bands=16)

    config.optimizer.learning_rate = 0.01
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.05

    config.train.batch_size = 32
    config.train.epochs = 60.0
    config.train.label_smoothing = 0.1
    config.train.ema_decay = 0.99
    config.train.log_every = 15
    config.train.eval_every_epochs = 5.0
    config.train.checkpoint_every_epochs = 5.0

    config.eval.batch_size = 32
    return config
