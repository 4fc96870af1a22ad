"""The section `config.model.inputs.<modality>` for each modality (Sec. 4.1 to 4.3).

A section holds the arguments of the modality's function in `perceiver/modalities/`, the keys of the
chosen position encoding, and `dropout`. The functions have the names of the modalities.
"""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from configs import choices

# Mean and standard deviation of red, green and blue on ImageNet, where 255 is 1.
RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)


def image(
    *,
    bands: int,
    max_resolution: tuple[float, ...] = (),
    mean: Sequence[float] = RGB_MEAN,
    std: Sequence[float] = RGB_STD,
) -> ConfigDict:
    """Keys of pictures."""
    inputs = _grid(bands, max_resolution)
    inputs.mean = mean  # mean of each channel, where 255 is 1; it is subtracted from the pixels
    inputs.std = std  # standard deviation of each channel, by which pixels are divided
    return inputs


def audio(*, bands: int) -> ConfigDict:
    """Keys of raw sound."""
    inputs = _grid(bands)
    inputs.patch = 128  # samples per input
    inputs.amplitude_bands = 0  # frequencies of Fourier features of each amplitude; 0 for none
    inputs.amplitude_max_resolution = 256.0  # mu of the amplitude: twice its highest frequency
    return inputs


def spectrogram(*, bands: int) -> ConfigDict:
    """Keys of log-mel spectrograms."""
    inputs = _grid(bands)
    inputs.mean = -6.0  # mean of the log-mel values, which is subtracted
    inputs.std = 4.0  # standard deviation of the log-mel values, by which they are divided
    return inputs


def video(*, bands: int) -> ConfigDict:
    """Keys of videos."""
    inputs = _grid(bands)
    inputs.patch = (2, 8, 8)  # frames, rows and columns of a patch
    inputs.mean = RGB_MEAN  # mean of each channel, where 255 is 1; it is subtracted from the pixels
    inputs.std = RGB_STD  # standard deviation of each channel, by which pixels are divided
    return inputs


def points(*, bands: int, max_resolution: tuple[float, ...]) -> ConfigDict:
    """Keys of point clouds, whose positions always have Fourier features."""
    inputs = _common()
    inputs.update(_fourier(bands, max_resolution))
    return inputs


def _grid(bands: int, max_resolution: tuple[float, ...] = ()) -> ConfigDict:
    """Keys of every modality on a grid."""
    inputs = _common()
    inputs.positions = "fourier"  # position encoding: fourier, learned or none
    inputs.update(_fourier(bands, max_resolution))
    return inputs


def _fourier(bands: int, max_resolution: tuple[float, ...]) -> dict[str, Any]:
    record = choices.CHOICES["model.inputs.*.positions"]["fourier"]
    return record | {"bands": bands, "max_resolution": max_resolution}


def _common() -> ConfigDict:
    """Keys of every modality."""
    inputs = ConfigDict()
    # Fraction of the training examples in which this modality's content is set to zero (Sec. 4.2).
    inputs.dropout = 0.0
    return inputs
