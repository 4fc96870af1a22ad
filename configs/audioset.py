"""AudioSet classification (Sec. 4.2, Table 3), one modality at a time.

    python -m experiments.prepare_data audioset --clips=DIR --out=data/audioset \
        --csv=balanced_train_segments.csv --csv=unbalanced_train_segments.csv \
        --csv=eval_segments.csv
    python -m experiments.train --config=configs/audioset.py --workdir=runs/audioset
    python -m experiments.train --config=configs/audioset.py:mel --workdir=runs/audioset_mel

docs/audioset.md tells how the clips are prepared. Should reach a mAP of 38.3% from raw sound, 38.4%
from mel spectrograms and 25.8% from video (printed in the paper; not run here; it prints no time).

Not printed in the paper, chosen here: the optimiser and its rate, which are ImageNet's over 100
epochs, batch 512, bands, and the strengths of augmentation.
"""

from ml_collections import ConfigDict

from configs import data
from configs.base import base, check_variant, colours, grid

VARIANTS = {
    "": "raw sound, 480 inputs of 128 samples",
    "mel": "log-mel spectrograms, 4,800 inputs, with SpecAugment",
    "video": "video, 12,544 inputs of 2x8x8 pixels",
}


def get_config(variant: str = "") -> ConfigDict:
    """The paper's network and data; 2 cross-attends, 8 self-attends a tower, nothing shared."""
    check_variant(variant, VARIANTS)
    config = base()

    modality = {"": "audio", "mel": "spectrogram", "video": "video"}[variant]
    config.data = data.clips(modality=modality)
    config.data.name = "audioset"
    config.data.dir = "data/audioset"
    config.data.train_split = "balanced_train+unbalanced_train"
    config.data.eval_split = "eval"
    config.data.num_classes = 527

    config.model.inputs[modality] = {
        "audio": grid(bands=64, patch=128),
        "spectrogram": grid(bands=64, mean=-6.0, std=4.0),
        "video": grid(bands=64, patch=(2, 8, 8), **colours()),
    }[modality]
    config.model.num_cross_attends = 2
    config.model.num_towers = 2
    config.model.self_attends_per_tower = 8
    config.model.share_cross_attends = False
    config.model.share_towers = False

    config.optimizer.learning_rate = 0.004
    config.optimizer.schedule = "step"
    config.optimizer.boundaries_epochs = (70.0, 85.0, 95.0)

    config.train.loss = "sigmoid"
    config.train.batch_size = 512
    config.train.epochs = 100.0
    config.train.eval_every_epochs = 5.0
    config.train.checkpoint_every = 500

    # A clip of video is 77 MB: 16 windows.
    config.eval.batch_size = 8 if variant == "video" else 64
    return config
