"""Computes log-mel spectrograms with `tf.signal` (Sec. 4.2).

The paper gives only the size: 4,800 inputs for 1.28 seconds. At 48 kHz, windows of 2,048 samples
every 1,024 samples, with a padded end, and 80 bins give exactly 60 x 80 = 4,800. The range of 80 to
7,600 Hz, the Hann window and log(x + 1e-6) are the usual settings for this size.

The mel scale is that of HTK. Its triangular filters peak at 1; by default librosa normalises them
by their width. Their sides are straight on the mel axis and librosa's are straight in Hz, so the
weights differ by less than 0.004. The filters are applied to the magnitude of the spectrum, not to
the power.
"""

from collections.abc import Callable

from perceiver.data.clips.schema import SAMPLE_RATE
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

_FULL_SCALE = 32768.0  # int16


def log_mel(
    *, frame: int, hop: int, bins: int, low: float, high: float, offset: float
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes a function that computes log-mel spectrograms.

    Args:
      frame: number of samples per window; the FFT length is the next power of two.
      hop: number of samples from one window to the next.
      bins: number of mel bins.
      low: lower edge of the first bin, in Hz.
      high: upper edge of the last bin, in Hz, at most 24,000.
      offset: value added before the logarithm, for sound in [-1, 1).

    Returns:
      A function from int16 [..., samples] at 48 kHz to float32 [..., T, bins], where
      T = ceil(samples / hop): a window begins at every hop, and silence follows the end.

    Raises:
      InputError: a setting is invalid.
    """
    _check(frame, hop, bins, low, high, offset)
    fft = 1 << (frame - 1).bit_length()
    # Computed in double precision, so that they are exact to the last bit of single precision.
    weights = tf.signal.linear_to_mel_weight_matrix(
        bins, fft // 2 + 1, SAMPLE_RATE, low, high, dtype=tf.float64
    )
    weights = tf.cast(weights, tf.float32).numpy()  # [fft / 2 + 1, bins]
    empty = (weights.max(axis=0) == 0).nonzero()[0]
    if len(empty):
        raise InputError(
            f"mel_bins {bins} from {low} to {high} Hz are too narrow for mel_frame {frame}: bin "
            f"{empty[0]} lies between two frequencies of the spectrum: give fewer bins or a longer "
            "frame"
        )

    def spectrogram(sound: tf.Tensor) -> tf.Tensor:
        sound = tf.cast(sound, tf.float32) / _FULL_SCALE
        spectrum = tf.signal.stft(
            sound, frame, hop, fft, window_fn=tf.signal.hann_window, pad_end=True
        )
        return tf.math.log(tf.abs(spectrum) @ weights + offset)

    return spectrogram


def _check(frame: int, hop: int, bins: int, low: float, high: float, offset: float) -> None:
    for name, value in (("mel_frame", frame), ("mel_hop", hop), ("mel_bins", bins)):
        if value < 1:
            raise InputError(f"{name} is {value}: give at least 1")
    if not 0 <= low < high <= SAMPLE_RATE / 2:
        raise InputError(
            f"mel_low {low} and mel_high {high} must be a range within 0 to {SAMPLE_RATE // 2} Hz"
        )
    if not offset > 0:
        raise InputError(f"mel_offset is {offset}: the logarithm of silence needs a positive one")
