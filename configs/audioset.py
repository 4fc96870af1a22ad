"""AudioSet classification from sound, video and both (Sec. 4.2, Table 3).

    python -m experiments.prepare_data audioset --clips=DIR --out=data/audioset \
        --csv=balanced_train_segments.csv --csv=unbalanced_train_segments.csv \
        --csv=eval_segments.csv
    python -m experiments.train --config=configs/audioset.py --workdir=runs/audioset
    python -m experiments.train --config=configs/audioset.py:mel_video --workdir=runs/mel_video

docs/audioset.md tells how the clips are prepared. Raw sound should reach a mAP of 38.3%, with video
43.5%; docs/experiments.md has the others (printed in the paper; not run here; it prints no time).

Not printed in the paper, chosen here: the optimiser and its rate, which are ImageNet's over 100
epochs, batch 512, bands, and the strengths of augmentation; that a dropped modality's content is
zeroed and its positions stay; of `video_unrolled`, that a cross-attend sees one time step of
patches (two frames) and one self-attend follows each, 16 in all as in the other networks; of
`sound_amplitude`, bands and resolution of the amplitude.
"""

from ml_collections import ConfigDict

from configs import data
from configs.base import base, check_variant

VARIANTS = {
    "": "raw sound, 480 inputs of 128 samples",
    "mel": "log-mel spectrograms, 4,800 inputs, with SpecAugment",
    "video": "video, 12,544 inputs of 2x8x8 pixels",
    "sound_video": "raw sound and video, with video dropout",
    "mel_video": "log-mel spectrograms and video, with video dropout",
    "sound_video_without_dropout": "raw sound and video, without video dropout",
    "mel_video_without_dropout": "log-mel spectrograms and video, without video dropout",
    "mel_video_tuned": "log-mel and video: no SpecAugment, the spectrogram is dropped with 0.1",
    "sound_video_fine": "61,440 samples and 50,176 patches of 2x4x4, as in App. E",
    "video_unrolled": "video, 784 inputs a cross-attend: temporal unrolling",
    "sound_amplitude": "61,440 samples, with Fourier features of their amplitude (first version)",
}


def get_config(variant: str = "") -> ConfigDict:
    """The paper's network and data; 2 cross-attends, 8 self-attends a tower, nothing shared."""
    check_variant(variant, VARIANTS)
    config = base()

    words = variant.split("_")
    sound = "spectrogram" if "mel" in words else "audio" if words[0] in ("", "sound") else ""
    modalities = tuple(m for m in (sound, "video" if "video" in words else "") if m)
    config.data = data.clips(*modalities)
    config.data.name = "audioset"
    config.data.dir = "data/audioset"
    config.data.train_split = "balanced_train+unbalanced_train"
    config.data.eval_split = "eval"
    config.data.num_classes = 527

    inputs = data.clip_inputs(bands=64)
    for modality in modalities:
        config.model.inputs[modality] = inputs[modality]
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
    config.eval.batch_size = 8 if "video" in modalities else 64

    if len(modalities) == 2 and "without" not in words:
        config.model.inputs.video.dropout = 0.3
    if "tuned" in words:
        config.model.inputs.spectrogram.dropout = 0.1
        config.data.spec_time_masks = config.data.spec_frequency_masks = 0
    if "fine" in words:
        config.model.inputs.video.patch = (2, 4, 4)
    if "fine" in words or "amplitude" in words:
        config.model.inputs.audio.patch = 1
    if "amplitude" in words:
        config.model.inputs.audio.amplitude_bands = 64
    if "unrolled" in words:
        config.model.unrolled = True
        config.model.num_cross_attends = 16
        config.model.num_towers = 16
        config.model.self_attends_per_tower = 1
    return config
