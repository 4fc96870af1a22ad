"""The section `config.data` for each modality: the paper's processing, for any data set.

A config takes the section of its modality and adds the keys of its data set.
"""

from ml_collections import ConfigDict

# Operations of perceiver/data/images/randaugment.py.
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


def pictures(name: str, *, num_classes: int, dir: str, image_size: int) -> ConfigDict:
    """Keys of pictures (Sec. 4.1); the settings of RandAugment are chosen here."""
    data = common(name, num_classes=num_classes, dir=dir)
    _frames(data, image_size)
    data.channels = 3  # colour channels: 3, or 1 for greyscale
    data.randaugment_layers = 2  # RandAugment operations per picture; 0 for none
    data.randaugment_magnitude = 9.0  # strength of all RandAugment operations, 0 to 30
    data.randaugment_operations = RANDAUGMENT  # names of the operations to draw from
    data.randaugment_translate = 100.0  # largest translation at magnitude 10, in pixels of the crop
    data.randaugment_cutout = 40.0  # half the side of cutout's square at magnitude 10, in pixels
    data.randaugment_fill = 128  # grey level of cutout and of pixels from outside, 0 to 255
    # Both parameters of the Beta distribution of Mixup, which the paper does not use; 0 for none.
    data.mixup_alpha = 0.0
    data.cutmix_alpha = 0.0  # both parameters of the Beta distribution of CutMix; 0 for none
    return data


def points(name: str, *, num_classes: int, dir: str, num_points: int) -> ConfigDict:
    """Keys of point clouds (Sec. 4.3)."""
    data = common(name, num_classes=num_classes, dir=dir)
    data.num_points = num_points  # M, points per cloud
    data.scale = (0.99, 1.01)  # range of the random factor of each point in training
    # Largest random movement of a point along each axis in training; the cloud spans [-1, 1].
    data.translation = 0.0
    data.rotation = "none"  # random rotation of a cloud in training: none, up (its axis) or any
    data.up_axis = "y"  # axis of the files that points up: x, y or z
    data.dropout = 0.0  # largest fraction of points that training drops, below 1
    return data


def clips(name: str, *, num_classes: int, dir: str, modalities: tuple[str, ...]) -> ConfigDict:
    """Keys of sound and video (Sec. 4.2); the strengths of augmentation are chosen here."""
    data = common(name, num_classes=num_classes, dir=dir)
    data.modalities = modalities  # inputs of the network: audio, spectrogram, video
    # Frames of a window at 25 per second; 32 are 1.28 s, or 61,440 samples at 48 kHz.
    data.clip_frames = 32
    data.eval_windows = 16  # windows of a clip over which evaluation averages
    _frames(data, image_size=224)
    data.brightness = 0.125  # largest change of brightness in training; 0 for none
    data.contrast = 0.4  # largest change of contrast in training; 0 for none
    data.saturation = 0.4  # largest change of saturation in training; 0 for none
    data.hue = 0.1  # largest change of hue in training, at most 0.5; 0 for none
    data.mel_frame = 2048  # samples in a spectrogram's window
    data.mel_hop = 1024  # samples between the starts of two windows
    data.mel_bins = 80  # bins of the mel scale
    data.mel_low = 80.0  # lower edge of the lowest mel bin, in Hz
    data.mel_high = 7600.0  # upper edge of the highest mel bin, in Hz
    data.mel_offset = 1e-6  # number added before the logarithm
    data.spec_time_masks = 2  # SpecAugment's masks over time; 0 for none
    data.spec_time_width = 12  # largest width of a mask over time, in cells (of 60)
    data.spec_frequency_masks = 2  # SpecAugment's masks over frequency; 0 for none
    data.spec_frequency_width = 16  # largest width of a mask over frequency, in cells (of 80)
    return data


def common(name: str, *, num_classes: int, dir: str | None = None) -> ConfigDict:
    """Keys of every data set."""
    data = ConfigDict()
    # Data set: digits, image_folder, tfds_images, modelnet40, point_folder, clip_folder, audioset.
    data.name = name
    if dir is not None:
        data.dir = dir  # folder of the data set
    # Number of classes for tables of sizes; programs that read the data use the data set's number.
    data.num_classes = num_classes
    # Fraction of the training examples that is held out; evaluation during training then uses it.
    data.held_out = 0.0
    data.held_out_seed = 0  # seed that selects the held-out examples
    return data


def add_split(data: ConfigDict) -> None:
    """Keys of folders with one folder per class."""
    # Fraction of the examples for validation, drawn from every class, if the folder has no val/.
    data.val_fraction = 0.1
    data.split_seed = 0  # seed that selects the validation examples


def _frames(data: ConfigDict, image_size: int) -> None:
    """Keys of pictures and of the frames of videos."""
    data.image_size = image_size  # rows and columns of the network's pictures or frames, in pixels
    # Range of a training crop's area as a fraction of the picture (Inception-style, Szegedy et al.,
    # 2015).
    data.crop_area = (0.08, 1.0)
    data.crop_aspect = (3 / 4, 4 / 3)  # range of a training crop's width over height
    data.flip = True  # mirror half of the training pictures left to right
