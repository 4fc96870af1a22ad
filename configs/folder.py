"""One's own files, a folder a class: pictures, sound, video or point clouds.

    python -m experiments.train --config=configs/folder.py --workdir=runs/mine \
        --config.data.dir=FOLDER
    python -m experiments.train --config=configs/folder.py:mel --workdir=runs/sounds \
        --config.data.dir=FOLDER

FOLDER holds train/<class>/* and val/<class>/*, or <class>/*, of which `config.data.val_fraction` is
then held out. What it reaches is up to the data. On 2 CPU cores that other work kept busy too:
61.88% on 160 pictures after 480 of 4 classes of Imagenette, in 26 minutes; on 20 sounds after 50 of
10 classes of ESC-10, 65% raw in 4 minutes and 80% by `:mel` in 11.
"""

from ml_collections import ConfigDict

from configs import data, models
from configs.base import base, check_variant, colours, fourier, grid

VARIANTS = {
    "": "pictures (JPEG, PNG) at 64x64",
    "resnet": "the same by a small ResNet",
    "vit": "the same by a small ViT",
    "sound": "raw sound of sound files or videos",
    "mel": "log-mel spectrograms of sound files or videos",
    "video": "videos, 32 frames at 64x64",
    "sound_video": "raw sound and frames of videos, fused",
    "mel_video": "log-mel spectrograms and frames of videos, fused",
    "points": "point clouds and meshes (OFF, PLY, NPY, TXT, PCD, HDF5)",
}

_CLIPS = {
    "sound": ("audio",),
    "mel": ("spectrogram",),
    "video": ("video",),
    "sound_video": ("audio", "video"),
    "mel_video": ("spectrogram", "video"),
}


def get_config(variant: str = "") -> ConfigDict:
    """A network and a recipe for a small data set and a CPU; raise the sizes for more."""
    check_variant(variant, VARIANTS)
    config = base()

    if variant == "points":
        config.data = data.points(num_points=1024)
        config.data.name = "point_folder"
        config.data.translation = 0.02
        config.model.inputs.points = fourier(bands=6, max_resolution=(16.0, 16.0, 16.0))
    elif variant in _CLIPS:
        config.data = data.clips(*_CLIPS[variant])
        config.data.name = "clip_folder"
        config.data.prepared = "data/prepared"  # where clips are put, decoded once
        config.data.max_failed = 0.0  # share of a split's files that may be left out as damaged
        config.data.image_size = 64
        config.data.crop_area = (0.3, 1.0)
        bands = {"audio": 32, "spectrogram": 16, "video": 8}
        for modality in _CLIPS[variant]:
            config.model.inputs[modality] = data.clip_inputs(bands=bands[modality])[modality]
        if len(_CLIPS[variant]) == 2:
            config.model.inputs.video.dropout = 0.3
    else:
        config.data = data.pictures(image_size=64)
        config.data.name = "image_folder"
        config.data.crop_area = (0.3, 1.0)
        config.data.randaugment_layers = 0
        config.model.inputs.image = grid(bands=16, **colours())
    config.data.dir = "data/mine"
    config.data.num_classes = 10  # assumed where the folder is not at hand, for tables of sizes
    config.data.val_fraction = 0.1
    config.data.split_seed = 0

    config.model.num_latents = 64
    config.model.latent_channels = 128
    config.model.num_cross_attends = 2
    config.model.num_towers = 2
    config.model.self_attends_per_tower = 3
    config.model.latent_init_scale = 0.5
    if variant == "resnet":
        models.set_network(config, models.small_resnet())
    elif variant == "vit":
        models.set_network(config, models.small_vit(patch=8))

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
    if "clip_frames" in config.data:  # an epoch hears one window of each clip
        config.train.epochs = 200.0
        config.train.eval_every_epochs = 20.0
        config.train.checkpoint_every_epochs = 20.0

    config.eval.batch_size = 32
    return config
