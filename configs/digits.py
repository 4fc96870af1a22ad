"""Handwritten digits, 8x8 pixels, embedded in scikit-learn: the smallest real experiment.

    python -m experiments.train --config=configs/digits.py --workdir=runs/digits

Should reach 98% on its 360 test images, within a handful: 97.22% measured with the seed below,
97.78% with seed 1, and 98.33% when sums were rounded otherwise. Takes about a minute on 2 CPU
cores.
"""

from ml_collections import ConfigDict

from configs.base import base, check_variant, grid

VARIANTS = {"": "a small Perceiver, 2 cross-attends, for a CPU"}


def get_config(variant: str = "") -> ConfigDict:
    """The embedded default of `make train`."""
    check_variant(variant, VARIANTS)
    config = base()

    config.data = ConfigDict()
    config.data.held_out = 0.0  # share of the training examples set apart, to choose by
    config.data.held_out_seed = 0
    config.data.name = "digits"
    config.data.num_classes = 10
    config.data.image_size = 8
    config.data.channels = 1
    config.data.max_shift = 0  # pixels, in training

    config.model.num_latents = 32
    config.model.latent_channels = 64
    config.model.num_cross_attends = 2
    config.model.num_towers = 2
    config.model.self_attends_per_tower = 2
    config.model.self_heads = 4
    config.model.latent_init_scale = 0.5
    config.model.inputs.image = grid(bands=4, mean=(64 / 255,), std=(64 / 255,))

    config.optimizer.learning_rate = 0.01
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.01
    config.train.label_smoothing = 0.1
    config.train.ema_decay = 0.99

    config.train.batch_size = 64
    config.train.epochs = 60.0
    config.train.log_every = 25
    config.train.eval_every_epochs = 10.0
    config.train.checkpoint_every_epochs = 10.0

    config.eval.batch_size = 360
    return config
