"""Frames of a clip: each is read once, all are augmented alike, and colours match Pillow."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from perceiver.data.clips import video
from perceiver.data.images import pictures
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError


def jpeg(pixels, quality=100):
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "jpeg", quality=quality, subsampling=0)
    return packed.getvalue()


def grey_frames(count, height=48, width=64):
    """Returns JPEG files; frame k has the grey level 5 k."""
    return [jpeg(np.full((height, width, 3), 5 * k, np.uint8)) for k in range(count)]


@pytest.fixture(scope="module")
def picture(files):
    """A real picture in colour, uint8 [256, 320, 3]."""
    with Image.open(files / "pictures/building/china.jpg") as image:
        return np.asarray(image.convert("RGB").resize((320, 256)))


def test_requested_frames_are_returned_in_order():
    numbers = tf.constant([[3, 4, 5], [5, 6, 3]])
    found = video.read_frames(tf.constant(grey_frames(8)), numbers, pictures.central_window, 16)
    assert found.shape == (2, 3, 16, 16, 3)
    expected = 5 * np.array([[3, 4, 5], [5, 6, 3]])[..., None, None, None]
    np.testing.assert_array_equal(found.numpy(), np.broadcast_to(expected, found.shape))


def test_other_frames_are_not_decoded():
    frames = grey_frames(6)
    frames[4] = b"\xff\xd8 damaged"
    found = video.read_frames(tf.constant(frames), tf.range(4), pictures.central_window, 16)
    assert found.shape == (4, 16, 16, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG"):
        video.read_frames(tf.constant(frames), tf.range(5), pictures.central_window, 16)


@pytest.mark.parametrize("image_size", [64, 224])
def test_evaluation_frames_match_pillow(picture, image_size):
    frame = jpeg(picture)
    with Image.open(io.BytesIO(frame)) as image:
        crop = image.crop((48, 16, 272, 240))  # 224 of 256 pixels, in the middle of 320 x 256
        expected = crop.resize((image_size, image_size), Image.Resampling.BICUBIC)
    found = video.read_frames(
        tf.constant([frame, frame]), tf.constant([1]), pictures.central_window, image_size
    )
    difference = np.abs(found[0].numpy().astype(int) - np.asarray(expected))
    # The last bits differ because Pillow rounds between its two passes.
    assert difference.max() <= (0 if image_size == 224 else 2)


def test_one_crop_for_all_frames():
    # The values of a ramp over columns show the position of the crop.
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (128, 256, 3))
    frames = tf.constant([jpeg(ramp)] * 5)
    starts = []
    for seed in range(5):
        clip = video.read_frames(
            frames,
            tf.range(5),
            lambda shape, seed=seed: pictures.random_window(
                shape, tf.constant([seed, 0]), (0.1, 0.5), (1.0, 1.0)
            ),
            32,
        ).numpy()
        assert (clip == clip[:1]).all()
        starts.append(int(clip[0, 0, 0, 0]))
    assert len(set(starts)) > 2


def test_half_of_the_clips_are_mirrored():
    clip = tf.cast(tf.reshape(tf.range(3 * 4 * 5 * 3), [3, 4, 5, 3]), tf.uint8)
    seeds = tf.data.Dataset.range(400).map(lambda i: tf.stack([tf.cast(i, tf.int32), 0]))
    found = next(iter(seeds.map(lambda seed: video.random_flip(clip, seed)).batch(400))).numpy()
    as_it_was = (found == clip.numpy()).all(axis=(1, 2, 3, 4))
    mirrored = (found == clip.numpy()[:, :, ::-1]).all(axis=(1, 2, 3, 4))
    assert (as_it_was ^ mirrored).all()
    assert 0.4 < mirrored.mean() < 0.6  # 0.5 with a standard deviation of 0.025


@pytest.mark.parametrize("factor", [0.0, 0.4, 0.8, 1.0, 1.3])
@pytest.mark.parametrize("what", ["Brightness", "Contrast", "Color"])
def test_colours_match_pillow(picture, what, factor):
    expected = np.asarray(getattr(ImageEnhance, what)(Image.fromarray(picture)).enhance(factor))
    factors = {"Brightness": 1.0, "Contrast": 1.0, "Color": 1.0} | {what: factor}
    found = video.adjust_colour(tf.constant(picture[None]), *factors.values(), None)[0].numpy()
    # Pillow rounds the luma, and truncates the result instead of rounding it.
    assert np.abs(found.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("shift", [-0.5, -0.1, 0.0, 0.25])
def test_hues_match_colorsys(picture, shift):
    few = picture[::32, ::32]
    found = video.adjust_colour(tf.constant(few[None]), 1.0, 1.0, 1.0, shift)[0].numpy()
    for before, after in zip(few.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = 255 * np.array(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value))
        np.testing.assert_allclose(after, expected, atol=0.51)


def test_contrast_uses_one_mean_for_the_whole_clip():
    # Frames of 40 and 120: the mean is 80, so half the contrast brings them to 60 and 100.
    clip = np.full((2, 8, 8, 3), 40, np.uint8)
    clip[1] = 120
    found = video.adjust_colour(tf.constant(clip), 1.0, 0.5, 1.0, None).numpy()
    assert (found[0] == 60).all()
    assert (found[1] == 100).all()


def coloured(strengths, count=200):
    """Augments a clip of two orange frames with `count` seeds."""
    clip = tf.constant(np.broadcast_to(np.uint8([120, 60, 20]), (2, 4, 4, 3)))
    seeds = tf.data.Dataset.range(count).map(lambda i: tf.stack([tf.cast(i, tf.int32), 0]))
    found = seeds.map(lambda seed: video.random_colour(clip, seed, **strengths)).batch(count)
    return next(iter(found)).numpy()


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_colour_change_is_random_and_constant_within_a_clip(name):
    strengths = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    assert (coloured(strengths, 3) == (120, 60, 20)).all()
    found = coloured(strengths | {name: 0.4})
    assert (found == found[:, :1, :1, :1]).all()
    colours = found[:, 0, 0, 0].astype(int)
    if name == "brightness":
        assert (colours[:, 0].min(), colours[:, 0].max()) == pytest.approx((72, 168), abs=2)
        assert abs(colours[:, 0].mean() - 120) < 6
    assert len(np.unique(colours, axis=0)) > 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 0}, "image_size is 0"),
        ({"crop_area": (0.5, 1.1)}, "crop_area"),
        ({"crop_aspect": (0.0, 1.0)}, "crop_aspect"),
        ({"brightness": -0.1}, "brightness is -0.1"),
        ({"saturation": 1.5}, "saturation is 1.5"),
        ({"hue": 0.6}, "hue is 0.6: give 0 for none, up to 0.5"),
    ],
)
def test_wrong_options_are_named(change, message):
    options = {
        "image_size": 224,
        "crop_area": (0.08, 1.0),
        "crop_aspect": (0.75, 4 / 3),
        "brightness": 0.0,
        "contrast": 0.0,
        "saturation": 0.0,
        "hue": 0.0,
    }
    with pytest.raises(InputError, match=message):
        video.check(**(options | change))
