"""AudioSet: classes of clips from sound, video and both (Sec. 4.2, Table 3).

    python -m experiments.prepare_data audioset --clips=DIR --out=data/audioset \
        --csv=balanced_train_segments.csv --csv=unbalanced_train_segments.csv \
        --csv=eval_segments.csv
    python -m experiments.train --config=configs/audioset.py --workdir=runs/audioset
    python -m experiments.train --config=configs/audioset.py:mel_video --workdir=runs/mel_video

docs/audioset.md explains how to prepare the clips.

Expected mAP, as printed in the paper: 38.3% from raw sound, 43.5% with video; docs/experiments.md
lists the other variants. Not run with this project. The paper prints no run time.

Chosen here because the paper does not print it: the optimiser and its learning rate (ImageNet's,
over 100 epochs), batch size 512, the numbers of bands, and the strengths of augmentation. A dropped
modality loses its content and retains its positions. In `video_unrolled` each cross-attend attends
to one time step of patches (two frames) and one self-attend follows it, so that there are 16
self-attends, as in the other networks. In `sound_amplitude` the bands and the resolution of the
amplitude are chosen here.
"""

from ml_collections import ConfigDict

from configs import data, inputs
from configs.base import Variant, base, check_variant, override

_EVAL = {"eval.batch_size": 8}  # 16 windows of video are 77 MB per clip
_DROPOUT = {"model.inputs.video.dropout": 0.3}
_UNROLLED = {
    "model.unrolled": True,
    "model.num_cross_attends": 16,
    "model.num_towers": 16,
    "model.self_attends_per_tower": 1,
}
_NO_SPEC_AUGMENT = {"data.spec_time_masks": 0, "data.spec_frequency_masks": 0}

_SOUND = {"data.modalities": ("audio",)}
_MEL = {"data.modalities": ("spectrogram",)}
_VIDEO = {"data.modalities": ("video",), **_EVAL}
_SOUND_VIDEO = {"data.modalities": ("audio", "video"), **_EVAL}
_MEL_VIDEO = {"data.modalities": ("spectrogram", "video"), **_EVAL}

VARIANTS = {
    "": Variant("raw sound, 480 inputs of 128 samples", _SOUND, {3: "raw audio"}),
    "mel": Variant(
        "log-mel spectrograms, 4,800 inputs, with SpecAugment", _MEL, {3: "mel spectrogram"}
    ),
    "video": Variant("video, 12,544 inputs of 2x8x8 pixels", _VIDEO, {3: "video"}),
    "sound_video": Variant(
        "raw sound and video, with video dropout",
        {**_SOUND_VIDEO, **_DROPOUT},
        {3: "raw audio + video"},
    ),
    "mel_video": Variant(
        "log-mel spectrograms and video, with video dropout",
        {**_MEL_VIDEO, **_DROPOUT},
        {3: "mel spectrogram + video"},
    ),
    "sound_video_without_dropout": Variant(
        "raw sound and video, without video dropout",
        _SOUND_VIDEO,
        {3: "raw audio + video, without video dropout"},
    ),
    "mel_video_without_dropout": Variant(
        "log-mel spectrograms and video, without video dropout",
        _MEL_VIDEO,
        {3: "mel spectrogram + video, without video dropout"},
    ),
    "mel_video_tuned": Variant(
        "log-mel and video: no SpecAugment, the spectrogram is dropped with probability 0.1",
        {**_MEL_VIDEO, **_DROPOUT, **_NO_SPEC_AUGMENT, "model.inputs.spectrogram.dropout": 0.1},
        {3: "mel spectrogram - tuned + video"},
    ),
    "sound_video_fine": Variant(
        "61,440 samples and 50,176 patches of 2x4x4, as in App. E",
        {
            **_SOUND_VIDEO,
            **_DROPOUT,
            "model.inputs.audio.patch": 1,
            "model.inputs.video.patch": (2, 4, 4),
        },
    ),
    "video_unrolled": Variant(
        "video, 784 inputs per cross-attend: temporal unrolling", {**_VIDEO, **_UNROLLED}
    ),
    "sound_amplitude": Variant(
        "61,440 samples, with Fourier features of their amplitude (first version)",
        {**_SOUND, "model.inputs.audio.patch": 1, "model.inputs.audio.amplitude_bands": 64},
    ),
}


def get_config(variant: str = "") -> ConfigDict:
    """Returns the paper's network and data: 2 cross-attends, 8 self-attends per tower, unshared."""
    check_variant(variant, VARIANTS)
    overrides = VARIANTS[variant].overrides
    modalities = overrides["data.modalities"]
    config = base()

    config.data = data.clips(
        "audioset", num_classes=527, dir="data/audioset", modalities=modalities
    )
    config.data.train_split = "balanced_train+unbalanced_train"  # splits to train on, joined by +
    config.data.eval_split = "eval"  # splits to evaluate on, joined by +

    made = {
        "audio": inputs.audio(bands=64),
        "spectrogram": inputs.spectrogram(bands=64),
        "video": inputs.video(bands=64),
    }
    for modality in modalities:
        config.model.inputs[modality] = made[modality]
    config.model.num_cross_attends = 2
    config.model.num_towers = 2
    config.model.self_attends_per_tower = 8
    config.model.share_cross_attends = False
    config.model.share_towers = False

    config.optimizer.learning_rate = 0.004

    config.train.loss = "sigmoid"
    config.train.batch_size = 512
    config.train.epochs = 100.0
    config.train.eval_every_epochs = 5.0
    config.train.checkpoint_every = 500

    config.eval.batch_size = 64

    recipe = {
        "optimizer.schedule": "step",
        "optimizer.boundaries_epochs": (70.0, 85.0, 95.0),
    }
    override(config, {**recipe, **overrides})
    return config
