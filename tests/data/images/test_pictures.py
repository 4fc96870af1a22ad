"""Decoding of pictures: crops within their ranges, and every kind of file."""

import io

import numpy as np
import pytest
from PIL import Image

from perceiver.data.images import pictures
from perceiver.data.tensorflow_cpu import tf


def windows(shape, count, area, aspect):
    seeds = tf.data.Dataset.range(count).map(lambda i: tf.stack([tf.cast(i, tf.int32), 7]))
    found = seeds.map(lambda seed: pictures.random_window(tf.constant(shape), seed, area, aspect))
    return next(iter(found.batch(count))).numpy()


@pytest.mark.parametrize(
    ("area", "aspect"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.5, 0.6), (1.0, 1.5))]
)
def test_crops_stay_within_the_ranges_and_fill_them(area, aspect):
    height, width = 400, 500
    top, left, h, w = windows((height, width, 3), 1000, area, aspect).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()
    whole = (h == height) & (w == width)  # the result after ten failed attempts
    assert whole.mean() < 0.02
    share, ratio = (h * w / (height * width))[~whole], (w / h)[~whole]
    # Sides are whole pixels: the share is off by up to 1.5%, the ratio by up to 1%.
    assert area[0] * 0.985 <= share.min() < area[0] + 0.1 * (area[1] - area[0])
    assert area[1] * 1.015 >= share.max() > area[1] - 0.2 * (area[1] - area[0])
    assert aspect[0] * 0.99 <= ratio.min() < aspect[0] * 1.03
    assert aspect[1] * 1.01 >= ratio.max() > aspect[1] * 0.97
    assert top.std() > 20
    assert left.std() > 20


@pytest.mark.parametrize(
    ("shape", "window"),
    [((256, 256), (16, 16, 224, 224)), ((375, 500), (23, 86, 328, 328)), ((1, 9), (0, 4, 1, 1))],
)
def test_the_central_window_is_224_of_256_of_the_short_side(shape, window):
    np.testing.assert_array_equal(pictures.central_window(tf.constant((*shape, 3))), window)


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def decoded(contents, window=(5, 7, 20, 30)):
    return pictures.decode(tf.constant(contents), lambda shape: tf.constant(window)).numpy()


@pytest.fixture
def coloured():
    """A smooth picture of 40 x 48 pixels, which JPEG preserves."""
    row, column = np.mgrid[0:40, 0:48]
    return Image.fromarray(
        np.stack([row * 6, column * 5, 255 - row * 3 - column * 2], -1).astype(np.uint8)
    )


def cropped(picture):
    return np.asarray(picture.convert("RGB")).astype(int)[5:25, 7:37]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "LA", "RGBA"])
def test_a_png_equals_that_of_pillow(coloured, mode):
    picture = coloured.convert(mode)
    np.testing.assert_array_equal(decoded(encoded(picture, "PNG")), cropped(picture))


def test_transparency_is_dropped(coloured):
    clear = coloured.copy()
    clear.putalpha(3)
    np.testing.assert_array_equal(decoded(encoded(clear, "PNG")), cropped(coloured))
    palette = coloured.convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(
        decoded(encoded(palette, "PNG", transparency=0)), cropped(palette)
    )


def test_16_bit_pictures_keep_the_upper_8_bits():
    levels = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48) * 34
    found = decoded(encoded(Image.fromarray(levels), "PNG"))
    np.testing.assert_array_equal(found, np.repeat(levels[5:25, 7:37, None] >> 8, 3, -1))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_equals_that_of_pillow(coloured, mode, progressive):
    contents = encoded(coloured.convert(mode), "JPEG", progressive=progressive, subsampling=0)
    expected = cropped(Image.open(io.BytesIO(contents)))
    np.testing.assert_allclose(decoded(contents), expected, atol=1)


def test_a_cmyk_jpeg_is_converted(coloured):
    contents = encoded(coloured.convert("CMYK"), "JPEG", quality=95)
    np.testing.assert_allclose(decoded(contents), cropped(coloured), atol=8)


def test_the_orientation_in_a_file_is_not_applied(coloured):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    plain, turned = (encoded(coloured, "JPEG", exif=e) for e in (Image.Exif(), exif))
    assert plain != turned
    np.testing.assert_array_equal(decoded(plain), decoded(turned))


def test_a_decoded_window_equals_that_of_the_whole_jpeg(files):
    path = files / "pictures/building/roof.jpg"
    contents = path.read_bytes()
    whole = decoded(contents, (0, 0, *Image.open(path).size[::-1]))
    part = decoded(contents, (100, 120, 150, 200))
    # At the edge of a crop the decoder has no colour from beyond it to upsample with.
    np.testing.assert_array_equal(part[2:-2, 2:-2], whole[102:248, 122:318])


def test_resize_is_bicubic_rounded_and_clipped():
    # Bicubic undershoots and overshoots at an edge between black and white.
    edge = np.zeros((9, 9, 3), np.uint8)
    edge[:, 4:] = 255
    expected = np.asarray(
        Image.fromarray(edge[..., 0]).convert("F").resize((31, 31), Image.Resampling.BICUBIC)
    )
    assert expected.min() < -5
    assert expected.max() > 260
    found = pictures.resize(tf.constant(edge), 31, 3).numpy()
    assert found.dtype == np.uint8
    np.testing.assert_allclose(
        found, np.repeat(expected.clip(0, 255)[..., None], 3, -1), atol=0.501
    )


def test_one_channel_is_the_luma():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    found = pictures.resize(tf.constant(red), 4, 1).numpy()
    np.testing.assert_array_equal(found, np.full((4, 4, 1), 60))  # 0.299 * 200
