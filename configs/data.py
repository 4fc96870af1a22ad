"""The section `config.data` of each modality: the paper's processing, for any data set of it.

A config takes the one that fits and adds `name`, `dir` and what else its data set needs.
"""

from ml_collections import ConfigDict

from configs.base import colours, grid

# Of perceiver/data/images/randaugment.py.
RANDAUGMENT = (
    "identity",
    "autocontrast",
    "equalize",
    "invert",
    "rotate",
    "posterize",
    "solarize",
    "solarize_add",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "cutout",
)


def pictures(*, image_size: int) -> ConfigDict:
    """Sec. 4.1. The settings of RandAugment are not printed in the paper; chosen here."""
    data = _any()
    data.image_size = image_size
    data.channels = 3
    data.crop_area = (0.08, 1.0)  # Inception-style (Szegedy et al., 2015)
    data.crop_aspect = (3 / 4, 4 / 3)
    data.flip = True
    data.randaugment_layers = 2  # 0 for none
    data.randaugment_magnitude = 9.0
    data.randaugment_operations = RANDAUGMENT
    data.randaugment_translate = 100.0  # pixels of the crop, at magnitude 10
    data.randaugment_cutout = 40.0
    data.randaugment_fill = 128
    data.mixup_alpha = 0.0  # not in the paper's recipe, as CutMix
    data.cutmix_alpha = 0.0
    return data


def points(*, num_points: int) -> ConfigDict:
    """Sec. 4.3."""
    data = _any()
    data.num_points = num_points
    data.scale = (0.99, 1.01)  # of each point
    data.translation = 0.0  # of each point
    data.rotation = "none"  # of the cloud: or up, any
    data.up_axis = "y"  # of the files
    data.dropout = 0.0  # largest share of the points left out
    return data


def clips(*modalities: str) -> ConfigDict:
    """Sec. 4.2. The strengths of the augmentation are not printed in the paper; chosen here."""
    data = _any()
    data.modalities = modalities  # audio, spectrogram, video: those of the network
    data.clip_frames = 32  # 1.28 s at 25 frames a second, and 61,440 samples at 48 kHz
    data.eval_windows = 16
    data.image_size = 224  # of video
    data.crop_area = (0.08, 1.0)
    data.crop_aspect = (3 / 4, 4 / 3)
    data.flip = True
    data.brightness = 0.125
    data.contrast = 0.4
    data.saturation = 0.4
    data.hue = 0.1
    data.mel_frame = 2048  # samples, as the hop
    data.mel_hop = 1024
    data.mel_bins = 80
    data.mel_low = 80.0  # Hz
    data.mel_high = 7600.0
    data.mel_offset = 1e-6  # inside the logarithm
    data.spec_time_masks = 2  # SpecAugment; 0 for none
    data.spec_time_width = 12  # at most, of 60 frames
    data.spec_frequency_masks = 2
    data.spec_frequency_width = 16  # at most, of 80 bins
    return data


def clip_inputs(*, bands: int) -> dict[str, ConfigDict]:
    """How each modality of clips becomes inputs (Sec. 4.2), with so many bands a dimension."""
    return {
        "audio": grid(
            bands,
            patch=128,
            amplitude_bands=0,  # 0 for the bare amplitude of each sample
            amplitude_max_resolution=256.0,
        ),
        "spectrogram": grid(bands, mean=-6.0, std=4.0),
        "video": grid(bands, patch=(2, 8, 8), **colours()),
    }


def _any() -> ConfigDict:
    """What every data set has."""
    data = ConfigDict()
    data.held_out = 0.0  # share of the training examples set apart, to choose by
    data.held_out_seed = 0
    return data
