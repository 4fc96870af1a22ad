"""The operations of RandAugment, compared with Pillow on real pictures and extreme ones.

Results are bitwise equal except for blends: if Pillow's build fuses a multiplication and an
addition into one instruction, a few values in a thousand may differ by one level.
"""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from perceiver.data.images import image_operations as operations
from perceiver.data.tensorflow_cpu import tf

FILL = 77
SIZES = [(1, 1), (1, 7), (2, 5), (3, 3), (31, 2), (37, 53), (64, 64)]


def extreme_pictures():
    random = np.random.default_rng(0)
    for height, width in SIZES:
        yield random.integers(0, 256, (height, width, 3), np.uint8)
        # Few levels, and not to either end.
        yield random.integers(60, 70, (height, width, 3), np.uint8)
        yield np.full((height, width, 3), (0, 130, 255), np.uint8)
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    yield np.stack([ramp, ramp[::-1], ramp.T], -1)


@pytest.fixture(scope="module")
def everything(files):
    """Real pictures, including one in greyscale, and extreme pictures."""
    paths = sorted((files / "pictures").glob("*/*"))
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths] + list(
        extreme_pictures()
    )


@pytest.fixture
def check(everything):
    """Returns a function that compares an operation, in a graph, with Pillow's."""

    def compare(ours, pillows, blend=False):
        traced = tf.function(ours, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
        changed = 0
        for pixels in everything:
            expected = np.asarray(pillows(Image.fromarray(pixels)))
            found = traced(pixels).numpy()
            assert found.dtype == np.uint8
            assert found.shape == pixels.shape
            difference = np.abs(found.astype(int) - expected)
            assert difference.max() <= blend, pixels.shape
            assert (difference > 0).mean() <= 0.003
            changed += (expected != pixels).any()
        return changed / len(everything)

    return compare


def test_autocontrast(check):
    assert check(operations.autocontrast, ImageOps.autocontrast) > 0.3


def test_equalize(check):
    assert check(operations.equalize, ImageOps.equalize) > 0.3


def test_invert(check):
    assert check(operations.invert, ImageOps.invert) == 1


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize(check, bits):
    check(lambda x: operations.posterize(x, bits), lambda x: ImageOps.posterize(x, bits))


@pytest.mark.parametrize("threshold", [0, 1, 100, 255, 256, 400])
def test_solarize(check, threshold):
    check(lambda x: operations.solarize(x, threshold), lambda x: ImageOps.solarize(x, threshold))


@pytest.mark.parametrize("addition", [0, 55, 110, 220, 300])
def test_solarize_add(check, addition):
    def added(value):
        return min(value + addition, 255) if value < 128 else value

    check(lambda x: operations.solarize_add(x, addition), lambda x: x.point(added))


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.55, 1.0, 1.45, 1.9, 3.7])
@pytest.mark.parametrize("name", ["Color", "Contrast", "Brightness", "Sharpness"])
def test_enhancements(check, name, factor):
    ours, pillows = getattr(operations, name.lower()), getattr(ImageEnhance, name)
    changed = check(
        lambda x: ours(x, factor), lambda x: pillows(x).enhance(factor), blend=factor not in (0, 1)
    )
    assert (changed == 0) if factor == 1 else (changed > 0.5)


@pytest.mark.parametrize("degrees", [0.0, 3.0, -27.0, 30.0, 45.0, 90.0, -90.0])
def test_rotate(check, degrees):
    check(
        lambda x: operations.rotate(x, degrees, FILL),
        lambda x: x.rotate(degrees, fillcolor=(FILL,) * 3),
    )


AFFINE = {
    "shear_x": lambda amount: (1, amount, 0, 0, 1, 0),
    "shear_y": lambda amount: (1, 0, 0, amount, 1, 0),
    "translate_x": lambda amount: (1, 0, amount, 0, 1, 0),
    "translate_y": lambda amount: (1, 0, 0, 0, 1, amount),
}


@pytest.mark.parametrize(
    ("name", "amount"),
    [(name, amount) for name in ("shear_x", "shear_y") for amount in (0.0, 0.03, 0.27, -0.9)]
    + [(name, amount) for name in ("translate_x", "translate_y") for amount in (0, 4.7, -90, 1000)],
)
def test_shears_and_translations(check, name, amount):
    matrix = AFFINE[name](amount)
    check(
        lambda x: getattr(operations, name)(x, amount, FILL),
        lambda x: x.transform(x.size, Image.Transform.AFFINE, matrix, fillcolor=(FILL,) * 3),
    )


@pytest.mark.parametrize("half_side", [0, 1, 20, 500])
def test_cutout(check, half_side):
    def pasted(picture):
        row, column = picture.height // 3, picture.width - 1
        picture.paste(
            (FILL,) * 3,
            (
                max(column - half_side, 0),
                max(row - half_side, 0),
                min(column + half_side, picture.width),
                min(row + half_side, picture.height),
            ),
        )
        return picture

    def ours(picture):
        height, width = tf.unstack(tf.shape(picture)[:2])
        return operations.cutout(picture, height // 3, width - 1, half_side, FILL)

    check(ours, pasted)


def test_a_picture_too_long_for_32_bit_positions():
    pixels = np.random.default_rng(0).integers(0, 256, (40_000, 3, 3), np.uint8)
    turned = operations.rotate(tf.constant(pixels), 180.0, FILL).numpy()
    np.testing.assert_array_equal(turned, pixels[::-1, ::-1])
