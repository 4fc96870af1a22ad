"""Features of inputs for simple models.

Every function takes a batch of inputs in the form of `perceiver.data.dataset.Source` and returns
features [B, F]. Not in the paper.
"""

from collections.abc import Callable

import numpy as np

_CELLS = 8  # cells along each side of the grid in which points are counted
_BANDS = 64  # bands of the spectrum of raw audio
_ROUNDING = 1e-10  # about the power of the rounding of 16-bit samples; full scale is 1
_SIDE = 16  # largest width and height of a frame in pixels


def features(modality: str, inputs: np.ndarray, *, windows: bool) -> np.ndarray:
    """Returns the features, float [B, F], of inputs [B, ...] or of windows [B, W, ...].

    Args:
      modality: name of the modality; inputs whose modality is not in FEATURES are flattened.
      inputs: batch of inputs.
      windows: True if there is an axis W, over which features are averaged.
    """
    function = FEATURES.get(modality, flattened)
    if not windows:
        return function(inputs)
    of_windows = function(inputs.reshape(-1, *inputs.shape[2:]))  # [B W, F]
    return of_windows.reshape(*inputs.shape[:2], -1).mean(axis=1)


def flattened(inputs: np.ndarray) -> np.ndarray:
    """Returns the values of inputs [B, ...] as [B, F]."""
    return inputs.reshape(len(inputs), -1).astype(np.float32)


def cell_shares(points: np.ndarray) -> np.ndarray:
    """Returns the share of points [B, M, 3] in each cell of an 8x8x8 grid on [-1, 1]^3, [B, 512].

    Shares do not depend on the order of the points, which has no meaning.
    """
    cells = np.clip(np.floor((points + 1) * (_CELLS / 2)), 0, _CELLS - 1).astype(np.int64)
    numbers = cells @ [_CELLS**2, _CELLS, 1] + _CELLS**3 * np.arange(len(points))[:, None]
    counts = np.bincount(numbers.ravel(), minlength=_CELLS**3 * len(points))
    return counts.reshape(len(points), -1) / points.shape[1]


def bin_statistics(spectrogram: np.ndarray) -> np.ndarray:
    """Returns the mean and standard deviation over time of log-mel [B, T, bins], [B, 2 bins]."""
    spectrogram = spectrogram.astype(np.float32)
    return np.concatenate([spectrogram.mean(axis=1), spectrogram.std(axis=1)], axis=1)


def band_powers(audio: np.ndarray) -> np.ndarray:
    """Returns the log of the mean power of samples, int16 [B, samples], in 64 bands, [B, 64].

    Single samples are no useful features, because a shift in time changes all of them. The mean of
    the samples is left out.
    """
    power = np.abs(np.fft.rfft(audio / 2**15)[:, 1:]) ** 2 / audio.shape[1]
    bands = np.array_split(power, _BANDS, axis=1)
    return np.log(np.stack([band.mean(axis=1) for band in bands], axis=1) + _ROUNDING)


def mean_frame(video: np.ndarray) -> np.ndarray:
    """Returns the mean over time of frames [B, T, S, S, C], at most 16x16, flattened."""
    frame = video.mean(axis=1, dtype=np.float32)  # [B, S, S, C]
    for axis in (1, 2):
        size = frame.shape[axis]
        starts = np.arange(min(size, _SIDE)) * size // min(size, _SIDE)
        lengths = np.diff([*starts, size])
        frame = np.add.reduceat(frame, starts, axis=axis)
        frame /= lengths.reshape(-1, *[1] * (frame.ndim - axis - 1))
    return frame.reshape(len(video), -1)


FEATURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "points": cell_shares,
    "spectrogram": bin_statistics,
    "audio": band_powers,
    "video": mean_frame,
}
