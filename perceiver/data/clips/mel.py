"""The log-mel spectrogram of sound, made with `tf.signal` (Sec. 4.2).

The paper prints only its size: 4,800 inputs for 1.28 seconds. At 48 kHz, frames of 2,048 samples
every 1,024, with the end padded, and 80 bins are exactly 60 x 80 = 4,800; 80 to 7,600 Hz, a Hann
window and log(x + 1e-6) are the usual settings that go with these.

Mel scales come in several kinds. This is HTK's, with triangles that peak at 1 (not normalised by
their width, as librosa's are unless told otherwise) and are straight on the mel axis, as HTK has
them (librosa's are straight in Hz, which moves weights by less than 0.004). They weigh the
magnitude of the spectrum, not the power.
"""

from collections.abc import Callable

from perceiver.data.clips.schema import SAMPLE_RATE
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

_FULL_SCALE = 32768.0  # int16


def log_mel(
    *, frame: int, hop: int, bins: int, low: float, high: float, offset: float
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the front end.

    Args:
      frame: samples under one window; the FFT is the next power of two.
      hop: samples from one window to the next.
      bins: mel bins.
      low: lower edge of the first bin, in Hz.
      high: upper edge of the last bin, in Hz, at most 24,000.
      offset: added before the logarithm. Sound is within [-1, 1).

    Returns:
      A function of int16 [..., samples] at 48 kHz that gives float32 [..., T, bins] with
      T = ceil(samples / hop): a window begins at every hop, and silence follows the end.

    Raises:
      InputError: settings that cannot be.
    """
    _check(frame, hop, bins, low, high, offset)
    fft = 1 << (frame - 1).bit_length()
    # Made once, in double precision, so that they are right to the last bit of single precision.
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
