"""Features of inputs for models that are no networks: numbers that mean something singly.

Every function takes a batch of inputs as `perceiver.data.dataset.Source` has them, and gives
features [B, F]. Not in the paper.
"""

from collections.abc import Callable

import numpy as np

_CELLS = 8  # a side of the grid that points are counted in
_BANDS = 64  # of the spectrum of raw audio
_ROUNDING = 1e-10  # about the power of 16-bit samples' rounding, full scale being 1
_SIDE = 16  # pixels of a frame, at most


def features(modality: str, inputs: np.ndarray, *, windows: bool) -> np.ndarray:
    """Inputs [B, ...], or windows of them [B, W, ...], to features, float [B, F].

    Args:
      modality: what the inputs are, such as 'points'; one that is not in FEATURES is flattened.
      inputs: the inputs.
      windows: whether there is an axis W, over which features are averaged.
    """
    function = FEATURES.get(modality, flattened)
    if not windows:
        return function(inputs)
    of_windows = function(inputs.reshape(-1, *inputs.shape[2:]))  # [B W, F]
    return of_windows.reshape(*inputs.shape[:2], -1).mean(axis=1)


def flattened(inputs: np.ndarray) -> np.ndarray:
    """Inputs [B, ...] to their values, [B, F]."""
    return inputs.reshape(len(inputs), -1).astype(np.float32)


def cell_shares(points: np.ndarray) -> np.ndarray:
    """Points [B, M, 3] to the share of them in each cell of an 8x8x8 grid on [-1, 1]^3, [B, 512].

    The order of the points means nothing, and shares do not depend on it.
    """
    cells = np.clip(np.floor((points + 1) * (_CELLS / 2)), 0, _CELLS - 1).astype(np.int64)
    numbers = cells @ [_CELLS**2, _CELLS, 1] + _CELLS**3 * np.arange(len(points))[:, None]
    counts = np.bincount(numbers.ravel(), minlength=_CELLS**3 * len(points))
    return counts.reshape(len(points), -1) / points.shape[1]


def bin_statistics(spectrogram: np.ndarray) -> np.ndarray:
    """Log-mel [B, T, bins] to each bin's mean and standard deviation over time, [B, 2 bins]."""
    spectrogram = spectrogram.astype(np.float32)
    return np.concatenate([spectrogram.mean(axis=1), spectrogram.std(axis=1)], axis=1)


def band_powers(audio: np.ndarray) -> np.ndarray:
    """int16 samples [B, samples] to the log of the mean power in 64 equal bands, [B, 64].

    A waveform's samples one by one mean nothing, as a shift in time changes them all. The mean of
    the samples is left out.
    """
    power = np.abs(np.fft.rfft(audio / 2**15)[:, 1:]) ** 2 / audio.shape[1]
    bands = np.array_split(power, _BANDS, axis=1)
    return np.log(np.stack([band.mean(axis=1) for band in bands], axis=1) + _ROUNDING)


def mean_frame(video: np.ndarray) -> np.ndarray:
    """Frames [B, T, S, S, C] to their mean over time, averaged to at most 16x16, flattened."""
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
