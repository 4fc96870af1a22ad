"""What every config has: the sections, their keys, and the defaults that the paper prints.

Each config of a data set takes this and says what differs. Durations come in steps or in epochs
(`_epochs`); where both are set the steps win, so that `--config.train.steps=100` shortens any run.
"""

import difflib
from collections.abc import Mapping

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.models import perceiver


def base() -> ConfigDict:
    """A config without data set, length and learning rate."""
    config = ConfigDict()

    config.model = perceiver()

    config.optimizer = ConfigDict()
    config.optimizer.name = "lamb"  # or adamw, sgd
    config.optimizer.learning_rate = placeholder(float)
    config.optimizer.schedule = "constant"  # or step, cosine
    config.optimizer.boundaries = ()  # of the schedule 'step'
    config.optimizer.boundaries_epochs = ()
    config.optimizer.factor = 0.1  # at each boundary
    # From 0. Not with lamb: it moves each array in proportion to its size, so that the head, which
    # starts at zero, keeps the size that its first step gives it.
    config.optimizer.warmup_steps = placeholder(int)
    config.optimizer.warmup_epochs = placeholder(float)
    config.optimizer.weight_decay = 0.0  # not printed in the paper
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-6
    config.optimizer.momentum = 0.9  # of sgd
    config.optimizer.clip_norm = 0.0  # of the whole gradient; 0 for none

    config.train = ConfigDict()
    config.train.batch_size = placeholder(int)  # over all hosts and devices
    config.train.steps = placeholder(int)
    config.train.epochs = placeholder(float)
    config.train.seed = 0
    config.train.max_unreadable = 0.001  # share of the examples that a process may pass over
    # Parts that each device takes its share of a batch in; BatchNorm is by part.
    config.train.accumulate = 1
    config.train.loss = "softmax"  # or sigmoid, for several labels an example
    config.train.label_smoothing = 0.0  # of softmax
    config.train.ema_decay = 0.0  # of the parameters that are evaluated; 0 for none
    config.train.log_every = 100
    config.train.eval_every = placeholder(int)
    config.train.eval_every_epochs = placeholder(float)
    config.train.checkpoint_every = placeholder(int)
    config.train.checkpoint_every_epochs = placeholder(float)
    config.train.keep_checkpoints = 2  # the newest; the best is kept beside them

    config.eval = ConfigDict()
    config.eval.batch_size = placeholder(int)  # over all hosts and devices
    config.eval.checkpoint = "newest"  # or best, or a step: what `experiments.evaluate` takes
    return config


def fourier(bands: int, max_resolution: tuple[float, ...], spacing: str = "linear") -> ConfigDict:
    """Fourier position features (Sec. 3.2); an empty max_resolution is the input's own size."""
    config = ConfigDict(dict(bands=bands, max_resolution=max_resolution, spacing=spacing))
    config.dropout = 0.0  # share of the training examples whose content is zeroed (Sec. 4.2)
    return config


def grid(bands: int, max_resolution: tuple[float, ...] = (), **values) -> ConfigDict:
    """How the points of a grid are placed: Fourier features, or learned positions as in Table 2.

    `values` are the other arguments of the modality's function in `perceiver/modalities/`.
    """
    config = fourier(bands, max_resolution)
    config.positions = "fourier"  # or learned, none
    config.learned_channels = 128
    config.learned_init_scale = 1.0
    config.update(values)
    return config


def colours() -> dict[str, tuple[float, ...]]:
    """Mean and standard deviation of ImageNet's red, green and blue, where 255 is 1."""
    return dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def check_variant(variant: str, variants: Mapping[str, str]) -> None:
    """Refuses a variant that a config does not have, naming the nearest that it has."""
    if variant not in variants:
        near = difflib.get_close_matches(variant, [name for name in variants if name], n=1)
        hint = (
            f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(variants) or 'none'}"
        )
        raise ValueError(f"unknown variant {variant!r}: {hint}")
