"""Byte arrays of pictures, video, sound and spectrograms, against NumPy in float64."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver.modalities.audio import audio_bytes
from perceiver.modalities.image import image_bytes
from perceiver.modalities.spectrogram import spectrogram_bytes
from perceiver.modalities.video import video_bytes
from perceiver.positions import Fourier, Learned
from tests.model import reference

ENCODING = dict(positions=Fourier(bands=3, max_resolution=(), spacing="linear"))
BARE = dict(amplitude_bands=0, amplitude_max_resolution=256.0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def made(function, inputs, **options):
    """Returns the byte array, jitted, with parameters from a fixed seed."""
    network = hk.without_apply_rng(hk.transform(lambda x: function(x, **(ENCODING | options))))
    return jax.jit(network.apply)(network.init(jax.random.key(0), inputs), inputs)


def standardised(pixels):
    return (pixels.astype(np.float64) / 255 - MEAN) / STD


def test_bytes_of_a_picture_are_standardised_on_the_device():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    inputs = made(image_bytes, pixels, mean=MEAN, std=STD)
    assert inputs.content.dtype == jnp.float32
    np.testing.assert_allclose(
        inputs.content, standardised(pixels).reshape(2, 35, 3), rtol=1e-6, atol=1e-6
    )
    assert inputs.positions.shape == (35, 2 * 7)
    of_floats = made(image_bytes, pixels.astype(np.float32) / 255, mean=MEAN, std=STD)
    np.testing.assert_allclose(of_floats.content, inputs.content, rtol=1e-5, atol=1e-6)


def test_patches_of_a_video_are_cut_time_first():
    """Sec. 4.2: each input is a patch of 2 frames, here of 3 rows and 4 columns."""
    video = np.random.default_rng(1).integers(0, 256, (2, 4, 6, 8, 3), np.uint8)
    inputs = made(video_bytes, video, patch=(2, 3, 4), mean=MEAN, std=STD)
    values, m = standardised(video), 0
    assert inputs.content.shape == (2, 2 * 2 * 2, 2 * 3 * 4 * 3)
    for t in range(0, 4, 2):
        for row in range(0, 6, 3):
            for column in range(0, 8, 4):
                patch = values[:, t : t + 2, row : row + 3, column : column + 4]
                np.testing.assert_allclose(
                    inputs.content[:, m], patch.reshape(2, -1), rtol=1e-6, atol=1e-6
                )
                m += 1
    # The first channel of each dimension is the coordinate itself: time, row, column.
    corners = np.asarray(inputs.position_array())[:, [0, 7, 14]]
    np.testing.assert_array_equal(corners[0], [-1, -1, -1])
    np.testing.assert_array_equal(corners[1], [-1, -1, 1])
    np.testing.assert_array_equal(corners[4], [1, -1, -1])


def test_raw_sound_is_cut_into_runs_of_samples():
    sound = np.random.default_rng(2).integers(-32768, 32768, (2, 24), np.int16)
    inputs = made(audio_bytes, sound, patch=8, **BARE)
    np.testing.assert_array_equal(inputs.content, (sound / 32768).reshape(2, 3, 8))
    np.testing.assert_array_equal(inputs.position_array()[:, 0], [-1, 0, 1])
    np.testing.assert_array_equal(
        made(audio_bytes, sound.astype(np.float32) / 32768, patch=8, **BARE).content, inputs.content
    )


@pytest.mark.parametrize("patch", [1, 4])
def test_amplitudes_of_sound_have_fourier_features(patch):
    """Each sample becomes [x, sin(f_k pi x), cos(f_k pi x)], f_k from 1 to mu / 2."""
    sound = np.random.default_rng(4).integers(-32768, 32768, (2, 24), np.int16)
    options = dict(patch=patch, amplitude_bands=5, amplitude_max_resolution=32.0)
    inputs = made(audio_bytes, sound, **options)
    assert inputs.content.shape == (2, 24 // patch, patch * 11)
    assert inputs.positions.shape == (24 // patch, 7)
    for b in range(2):
        for n, x in enumerate(np.float64(sound[b]) / 32768):
            of_sample = [x]
            of_sample += [np.sin(f * np.pi * x) for f in (1, 4.75, 8.5, 12.25, 16)]
            of_sample += [np.cos(f * np.pi * x) for f in (1, 4.75, 8.5, 12.25, 16)]
            place = n % patch * 11
            got = inputs.content[b, n // patch, place : place + 11]
            np.testing.assert_allclose(got, of_sample, atol=1e-5)


def test_amplitudes_gradient():
    sound = np.random.default_rng(5).uniform(-1, 1, (1, 6)).astype(np.float32)
    options = dict(patch=3, amplitude_bands=4, amplitude_max_resolution=10.0) | ENCODING
    weights = np.random.default_rng(6).normal(size=(1, 2, 27))

    def value(x):
        return (audio_bytes(x, **options).content * weights).sum()

    def wanted(x):
        return (
            reference.fourier_features(x.reshape(6, 1), 4, (10,)).ravel() * weights.ravel()
        ).sum()

    gradient = jax.jit(jax.grad(value))(sound)
    for n in range(6):
        step = 1e-6 * np.eye(6)[n]
        slope = (wanted(np.float64(sound[0]) + step) - wanted(np.float64(sound[0]) - step)) / 2e-6
        assert gradient[0, n] == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_cells_of_a_spectrogram_are_inputs():
    cells = np.random.default_rng(3).normal(-6, 4, (2, 5, 4)).astype(np.float16)
    inputs = made(spectrogram_bytes, cells, mean=-6.0, std=4.0)
    expected = (cells.astype(np.float64) + 6) / 4
    np.testing.assert_allclose(inputs.content[..., 0], expected.reshape(2, 20), rtol=1e-6)
    assert inputs.positions.shape == (20, 2 * 7)


def test_numbers_of_inputs_in_the_paper():
    """Sec. 4.2 and the appendix: 12,544 and 50,176 patches, 480 and 61,440 of sound, 4,800 mel."""

    def inputs(function, shape, **options):
        spec = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        content = jax.eval_shape(lambda x: function(x, **(ENCODING | options)), spec).content
        return content.shape[1:]

    colours = dict(mean=MEAN, std=STD)
    assert inputs(image_bytes, (224, 224, 3), **colours) == (50_176, 3)
    assert inputs(video_bytes, (32, 224, 224, 3), patch=(2, 8, 8), **colours) == (12_544, 384)
    assert inputs(video_bytes, (32, 224, 224, 3), patch=(2, 4, 4), **colours) == (50_176, 96)
    assert inputs(audio_bytes, (61_440,), patch=128, **BARE) == (480, 128)
    assert inputs(audio_bytes, (61_440,), patch=1, **BARE) == (61_440, 1)
    bands = dict(amplitude_bands=64, amplitude_max_resolution=256.0)
    assert inputs(audio_bytes, (61_440,), patch=1, **bands) == (61_440, 129)
    assert inputs(spectrogram_bytes, (60, 80), mean=0.0, std=1.0) == (4_800, 1)


def test_learned_positions_are_the_same_for_a_batch():
    learned = Learned(channels=5, init_scale=1.0)
    inputs = made(audio_bytes, np.zeros((2, 24), np.int16), patch=8, positions=learned, **BARE)
    assert inputs.positions.shape == (3, 5)
    assert np.std(inputs.position_array()) > 0.1


@pytest.mark.parametrize(
    ("function", "shape", "options", "message"),
    [
        (video_bytes, (4, 6, 8, 3), dict(patch=(2, 4, 4)), r"patch is \(2, 4, 4\), which does not"),
        (video_bytes, (4, 6, 8, 3), dict(patch=(2, 3)), r"patch is \(2, 3\)"),
        (video_bytes, (4, 6, 8, 3), dict(patch=(0, 3, 4)), r"patch is \(0, 3, 4\)"),
        (audio_bytes, (24,), dict(patch=7), "patch is 7, which does not divide 24 samples"),
        (audio_bytes, (24,), dict(patch=0), "patch is 0, which does not divide 24 samples"),
        (audio_bytes, (24,), dict(amplitude_bands=-1), "amplitude_bands is -1; give 0 or more"),
        (
            audio_bytes,
            (24,),
            dict(amplitude_bands=3, amplitude_max_resolution=0.0),
            "max_resolution 0.0; both must be positive",
        ),
        (image_bytes, (4, 4, 1), {}, r"mean .* must have 1 values"),
        (image_bytes, (4, 4, 3), dict(std=(0.2, 0.2, 0.0)), "std must be positive"),
    ],
)
def test_wrong_values_are_errors(function, shape, options, message):
    needed = dict(patch=8) | BARE if function is audio_bytes else dict(mean=MEAN, std=STD)
    options = needed | options
    with pytest.raises(ValueError, match=message):
        made(function, np.zeros((1, *shape), np.float32), **options)
