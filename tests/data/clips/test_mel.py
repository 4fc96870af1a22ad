"""Log-mel spectrograms against librosa and against the formulae of HTK in NumPy."""

import librosa
import numpy as np
import pytest

from perceiver.data.clips.mel import log_mel
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

PAPER = {"frame": 2048, "hop": 1024, "bins": 80, "low": 80.0, "high": 7600.0, "offset": 1e-6}


@pytest.fixture(
    scope="module", params=["002 - Rain", "009 - Rooster", "006 - Person sneeze", "008 - Chainsaw"]
)
def real_sound(request, files):
    """1.28 seconds that are not silent, int16 at 48 kHz, of one class of real recordings."""
    path = sorted((files / "sounds" / request.param).glob("*.ogg"))[-1]
    sound, _ = librosa.load(path, sr=48_000)
    assert sound[:61_440].std() > 0.005
    return np.round(sound[:61_440] * 32_767).astype(np.int16)


def magnitudes(sound, frame, hop):
    """Returns the spectrogram of librosa [frequencies, T], from the first sample, end padded."""
    padded = np.pad(sound / 32_768, (0, frame))
    found = librosa.stft(padded, n_fft=frame, hop_length=hop, window="hann", center=False)
    return np.abs(found)[:, : -(-len(sound) // hop)]


def htk_triangles(frame, bins, low, high):
    """Returns triangles that are straight on the mel axis, mel(f) = 1127 ln(1 + f / 700)."""
    edges = np.linspace(*(1127 * np.log1p(f / 700) for f in (low, high)), bins + 2)
    of_bins = 1127 * np.log1p(np.fft.rfftfreq(frame, 1 / 48_000) / 700)
    rising = (of_bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - of_bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))


def test_agrees_with_librosa(real_sound):
    found = log_mel(**PAPER)(tf.constant(real_sound)).numpy()
    weights = librosa.filters.mel(
        sr=48_000, n_fft=2048, n_mels=80, fmin=80, fmax=7600, htk=True, norm=None
    )
    expected = np.log(weights @ magnitudes(real_sound, 2048, 1024) + 1e-6).T
    assert found.shape == (60, 80)  # 4,800 inputs
    # librosa's triangles are straight in Hz: weights differ by up to 0.0037. Halving or doubling
    # a magnitude moves the logarithm by 0.69.
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert np.abs(found - expected).mean() < 0.004


@pytest.mark.parametrize(
    "change",
    [{}, {"frame": 1024, "hop": 480, "bins": 40}, {"low": 20.0, "high": 24_000.0, "bins": 64}],
)
def test_agrees_with_htk(real_sound, change):
    settings = PAPER | change
    found = log_mel(**settings)(tf.constant(real_sound)).numpy()
    frame, hop, bins, low, high, offset = settings.values()
    spectrum = magnitudes(real_sound, frame, hop)
    expected = np.log(htk_triangles(frame, bins, low, high) @ spectrum + offset).T
    # Limited by single precision where the recording is almost silent.
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - expected).mean() < 5e-5


def test_a_tone_is_in_its_bin():
    # 80 bins between mel(80 Hz) = 121.96 and mel(7,600 Hz) = 2786.99; 1 kHz is mel 999.99, so at
    # (999.99 - 121.96) / (2665.04 / 81) = 26.7 steps above the lower edge. Bin 26 peaks at 27.
    tone = np.round(10_000 * np.sin(2 * np.pi * 1000 * np.arange(61_440) / 48_000))
    found = log_mel(**PAPER)(tf.constant(tone, tf.int16)).numpy()
    assert (found[:59].argmax(axis=1) == 26).all()


def test_silence_is_the_logarithm_of_the_offset():
    found = log_mel(**PAPER)(tf.zeros([2, 61_440], tf.int16)).numpy()
    np.testing.assert_allclose(found, np.full((2, 60, 80), np.log(1e-6)), atol=1e-5)


def test_float16_is_accurate_to_a_hundredth(real_sound):
    found = log_mel(**PAPER)(tf.constant(real_sound)).numpy()
    assert np.abs(found.astype(np.float16) - found).max() < 0.005


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop": 0}, "mel_hop is 0"),
        ({"low": 8000.0}, "mel_low 8000.0 and mel_high 7600.0"),
        ({"high": 30_000.0}, "within 0 to 24000 Hz"),
        ({"offset": 0.0}, "mel_offset is 0.0"),
        ({"bins": 500}, "mel_bins 500 .* too narrow for mel_frame 2048"),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises(InputError, match=message):
        log_mel(**(PAPER | change))
