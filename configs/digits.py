"""Handwritten digits, 8x8 pixels, embedded in scikit-learn: the smallest real experiment.

    python -m experiments.train --config=configs/digits.py --workdir=runs/digits

Expected accuracy on the 360 test images: 98%, within a few images. Measured: 97.22% with the
seed below, 97.78% with seed 1, and 98.33% with another rounding of sums. It takes about a minute on
2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import data, inputs
from configs.base import Variant, base, check_variant, override

VARIANTS = {
    "": Variant("a small Perceiver, 2 cross-attends, for a CPU", measured="97.22%"),
}


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config that `make train` runs."""
    check_variant(variant, VARIANTS)
    config = base()

    config.data = data.common("digits", num_classes=10)
    config.data.image_size = 8
    config.data.channels = 1
    config.data.max_shift = 0  # largest random shift of a picture in training, in pixels

    config.model.num_latents = 32
    config.model.latent_channels = 64
    config.model.num_cross_attends = 2
    config.model.num_towers = 2
    config.model.self_attends_per_tower = 2
    config.model.self_heads = 4
    config.model.latent_init_scale = 0.5
    config.model.inputs.image = inputs.image(bands=4, mean=(64 / 255,), std=(64 / 255,))

    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 0.01

    config.train.batch_size = 64
    config.train.epochs = 60.0
    config.train.label_smoothing = 0.1
    config.train.ema_decay = 0.99
    config.train.log_every = 25
    config.train.eval_every_epochs = 10.0
    config.train.checkpoint_every_epochs = 10.0

    config.eval.batch_size = 360

    override(config, {"optimizer.schedule": "cosine", **VARIANTS[variant].overrides})
    return config
