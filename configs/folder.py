"""Your own files, one folder per class: pictures, sound, video or point clouds.

    python -m experiments.train --config=configs/folder.py --workdir=runs/mine \
        --config.data.dir=FOLDER
    python -m experiments.train --config=configs/folder.py:mel --workdir=runs/sounds \
        --config.data.dir=FOLDER

FOLDER holds train/<class>/* and val/<class>/*, or only <class>/*. In the second case the fraction
`config.data.val_fraction` of the files is used for validation.

The expected result depends on the data. Measured on 2 CPU cores with other work running: 61.88% on
160 pictures of 4 classes of Imagenette after training on 480, in 26 minutes; on 20 sounds of 10
classes of ESC-10 after training on 50, 65% from raw sound in 4 minutes and 80% with `:mel` in 11.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import data, inputs, models
from configs.base import Variant, base, check_variant, override

# An epoch uses one window of each clip, so runs have more epochs than those of pictures.
_CLIPS = {
    "data.name": "clip_folder",
    "train.epochs": 200.0,
    "train.eval_every_epochs": 20.0,
    "train.checkpoint_every_epochs": 20.0,
}
_VIDEO_DROPOUT = {"model.inputs.video.dropout": 0.3}

VARIANTS = {
    "": Variant("pictures (JPEG, PNG) at 64x64", measured="61.88% (4 classes of Imagenette)"),
    "resnet": Variant(
        "the same with a small ResNet",
        models.SMALL_RESNET,
        measured="71.25% (4 classes of Imagenette)",
    ),
    "vit": Variant(
        "the same with a small ViT",
        {**models.SMALL_VIT, "model.patch": 8},
        measured="45.00% (4 classes of Imagenette)",
    ),
    "sound": Variant(
        "raw sound of sound files or videos",
        {**_CLIPS, "data.modalities": ("audio",)},
        measured="65.00% (10 classes of ESC-10)",
    ),
    "mel": Variant(
        "log-mel spectrograms of sound files or videos",
        {**_CLIPS, "data.modalities": ("spectrogram",)},
        measured="80.00% (10 classes of ESC-10)",
    ),
    "video": Variant(
        "videos, 32 frames at 64x64",
        {**_CLIPS, "data.modalities": ("video",)},
    ),
    "sound_video": Variant(
        "raw sound and frames of videos, fused",
        {**_CLIPS, "data.modalities": ("audio", "video"), **_VIDEO_DROPOUT},
    ),
    "mel_video": Variant(
        "log-mel spectrograms and frames of videos, fused",
        {**_CLIPS, "data.modalities": ("spectrogram", "video"), **_VIDEO_DROPOUT},
    ),
    "points": Variant(
        "point clouds and meshes (OFF, PLY, NPY, TXT, PCD, HDF5)",
        {"data.name": "point_folder"},
    ),
}


def get_config(variant: str = "") -> ConfigDict:
    """Returns a network and a recipe for a small data set and a CPU; raise the sizes for more."""
    check_variant(variant, VARIANTS)
    overrides = VARIANTS[variant].overrides
    config = base()

    config.data = _data(overrides)
    config.model.inputs = _inputs(config.data)

    config.model.num_latents = 64
    config.model.latent_channels = 128
    config.model.num_cross_attends = 2
    config.model.num_towers = 2
    config.model.self_attends_per_tower = 3
    config.model.latent_init_scale = 0.5

    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 0.05

    config.train.batch_size = 32
    config.train.epochs = 60.0
    config.train.label_smoothing = 0.1
    config.train.ema_decay = 0.99
    config.train.log_every = 15
    config.train.eval_every_epochs = 5.0
    config.train.checkpoint_every_epochs = 5.0

    config.eval.batch_size = 32

    override(config, {"optimizer.schedule": "cosine", **overrides})
    return config


def _data(overrides: Mapping[str, Any]) -> ConfigDict:
    """Keys of the data set that a variant chooses."""
    name = overrides.get("data.name", "image_folder")
    values = {"dir": "data/mine", "num_classes": 10}
    if name == "point_folder":
        section = data.points(name, num_points=1024, **values)
        section.translation = 0.02
    elif name == "clip_folder":
        section = data.clips(name, modalities=overrides["data.modalities"], **values)
        section.prepared = "data/prepared"  # folder for the decoded clips
        # Largest fraction of a split's files that may be left out because they are damaged.
        section.max_failed = 0.0
        section.image_size = 64
        section.crop_area = (0.3, 1.0)
    else:
        section = data.pictures(name, image_size=64, **values)
        section.crop_area = (0.3, 1.0)
        section.randaugment_layers = 0
    data.add_split(section)
    return section


def _inputs(section: ConfigDict) -> ConfigDict:
    """Keys of the modalities of a data set."""
    if "num_points" in section:
        return ConfigDict({"points": inputs.points(bands=6, max_resolution=(16.0, 16.0, 16.0))})
    made = {
        "image": inputs.image(bands=16),
        "audio": inputs.audio(bands=32),
        "spectrogram": inputs.spectrogram(bands=16),
        "video": inputs.video(bands=8),
    }
    return ConfigDict({name: made[name] for name in section.get("modalities", ("image",))})
