"""RandAugment: the strength of each operation compared with Pillow, and the random draws."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from perceiver.data.images.randaugment import OPERATIONS, RandAugment
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

OPTIONS = {
    "layers": 1,
    "magnitude": 9.0,
    "operations": OPERATIONS,
    "translate": 100.0,
    "cutout": 40.0,
    "fill": 128,
}


def augmented(picture, count, **options):
    """Returns [count, h, w, 3], the picture augmented with `count` seeds."""
    augment = RandAugment(**(OPTIONS | options))
    pixels = tf.ensure_shape(tf.constant(np.asarray(picture)), [None, None, 3])
    seeds = tf.data.Dataset.range(count).map(lambda i: tf.stack([tf.cast(i, tf.int32), 5]))
    made = seeds.map(lambda seed: augment(pixels, seed), num_parallel_calls=2)
    return np.stack(list(made.as_numpy_iterator()))


@pytest.fixture(scope="module")
def photograph(files):
    """A picture of 500 x 375 pixels."""
    return Image.open(files / "pictures/building/roof.jpg").convert("RGB")


def enhanced(enhancer):
    # 1.8 of 10, above 0.1.
    return lambda x, magnitude: enhancer(x).enhance({5: 1.0, 9: 1.72, 15: 2.8}[magnitude])


def moved(x, *matrix):
    return x.transform(x.size, Image.Transform.AFFINE, matrix, fillcolor=(128,) * 3)


UNDIRECTED = {
    "identity": lambda x, magnitude: x,
    "autocontrast": lambda x, magnitude: ImageOps.autocontrast(x),
    "equalize": lambda x, magnitude: ImageOps.equalize(x),
    "invert": lambda x, magnitude: ImageOps.invert(x),
    "posterize": lambda x, magnitude: ImageOps.posterize(x, {5: 2, 9: 3, 15: 6}[magnitude]),
    "solarize": lambda x, magnitude: ImageOps.solarize(x, {5: 128, 9: 230, 15: 384}[magnitude]),
    "solarize_add": lambda x, magnitude: x.point(
        lambda value: min(value + {5: 55, 9: 99, 15: 165}[magnitude], 255) if value < 128 else value
    ),
    "color": enhanced(ImageEnhance.Color),
    "contrast": enhanced(ImageEnhance.Contrast),
    "brightness": enhanced(ImageEnhance.Brightness),
    "sharpness": enhanced(ImageEnhance.Sharpness),
}

DIRECTED = {
    "rotate": lambda x, way: x.rotate(way * 30, fillcolor=(128,) * 3),
    "shear_x": lambda x, way: moved(x, 1, way * 0.3, 0, 0, 1, 0),
    "shear_y": lambda x, way: moved(x, 1, 0, 0, way * 0.3, 1, 0),
    "translate_x": lambda x, way: moved(x, 1, 0, way * 100, 0, 1, 0),
    "translate_y": lambda x, way: moved(x, 1, 0, 0, 0, 1, way * 100),
}


@pytest.mark.parametrize("magnitude", [5, 9, 15])
@pytest.mark.parametrize("name", UNDIRECTED)
def test_an_operation_equals_that_of_pillow(photograph, name, magnitude):
    (found,) = augmented(photograph, 1, operations=(name,), magnitude=magnitude)
    expected = np.asarray(UNDIRECTED[name](photograph, magnitude)).astype(int)
    # One level for processors that fuse a multiplication and an addition.
    assert np.abs(found - expected).max() <= (name in {"color", "contrast", "brightness"})
    assert (found != expected).mean() < 0.003


@pytest.mark.parametrize("magnitude", [5, 10, 15])
@pytest.mark.parametrize("name", DIRECTED)
def test_a_directed_operation_goes_in_both_directions(photograph, name, magnitude):
    found = augmented(photograph, 20, operations=(name,), magnitude=magnitude)
    one, other = (np.asarray(DIRECTED[name](photograph, way * magnitude / 10)) for way in (1, -1))
    went = [(picture == one).all() for picture in found]
    assert 3 <= sum(went) <= 17
    went_other = [(picture == other).all() for picture in found]
    np.testing.assert_array_equal(went, np.logical_not(went_other))


def test_every_operation_is_compared_with_pillow():
    assert {*UNDIRECTED, *DIRECTED, "cutout"} == set(OPERATIONS)


def test_cutout_is_anywhere_and_clipped_at_the_borders():
    white = np.full((100, 120, 3), 255, np.uint8)
    found = augmented(white, 300, operations=("cutout",), magnitude=5, cutout=40, fill=7)
    assert set(np.unique(found)) == {7, 255}
    filled = found[..., 0] == 7
    rows, columns = filled.any(2).sum(1), filled.any(1).sum(1)
    np.testing.assert_array_equal(filled.sum((1, 2)), rows * columns)  # rectangles
    # 20 pixels on each side of a uniformly random centre.
    assert rows.max() == columns.max() == 40
    assert 20 <= rows.min() < 25
    assert 20 <= columns.min() < 25
    assert np.mean(rows == 40) == pytest.approx(0.6, abs=0.1)
    assert np.mean(columns == 40) == pytest.approx(80 / 120, abs=0.1)


def test_each_picture_draws_operations_with_equal_probability():
    picture = np.random.default_rng(0).integers(0, 200, (8, 8, 3), np.uint8)
    names = ("identity", "invert", "posterize", "translate_x")
    found = augmented(picture, 800, operations=names, magnitude=10, fill=255)
    counts = {
        "identity": (found == picture).all((1, 2, 3)).sum(),
        "invert": (found == 255 - picture).all((1, 2, 3)).sum(),
        "posterize": (found == picture // 16 * 16).all((1, 2, 3)).sum(),
        "translate_x": (found == 255).all((1, 2, 3)).sum(),
    }
    assert sum(counts.values()) == 800
    assert min(counts.values()) > 150  # four standard deviations below 200
    assert max(counts.values()) < 250


def test_layers_are_applied_in_sequence_and_draw_independently():
    picture = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    for layers, expected in [(0, picture), (1, 255 - picture), (2, picture), (3, 255 - picture)]:
        (found,) = augmented(picture, 1, layers=layers, operations=("invert",))
        np.testing.assert_array_equal(found, expected)
    found = augmented(picture, 400, layers=2, operations=("identity", "invert"))
    assert (found == picture).all((1, 2, 3)).mean() == pytest.approx(0.5, abs=0.1)


def test_the_picture_is_a_function_of_the_seed(photograph):
    small = photograph.resize((50, 40))
    one, again = (augmented(small, 40, layers=2, translate=10) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert len({picture.tobytes() for picture in one}) > 30


@pytest.mark.parametrize("magnitude", [0.0, 30.0])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_extreme_magnitudes_work(name, magnitude):
    picture = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    (found,) = augmented(picture, 1, operations=(name,), magnitude=magnitude)
    assert found.shape == picture.shape
    if magnitude == 0 and name in {*DIRECTED, "identity", "solarize_add", "cutout"}:
        np.testing.assert_array_equal(found, picture)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"operations": ("rotate", "colour")},
            "operation of RandAugment 'colour': did you mean 'color'",
        ),
        ({"operations": ()}, "randaugment_operations is empty"),
        ({"layers": -1}, "randaugment_layers is -1"),
        ({"magnitude": -0.5}, "randaugment_magnitude is -0.5"),
        ({"magnitude": 31}, "randaugment_magnitude is 31: give 0 to 30"),
        ({"translate": -1.0}, "randaugment_translate is -1"),
        ({"cutout": -1.0}, "randaugment_cutout is -1"),
        ({"fill": 256}, "randaugment_fill is 256"),
    ],
)
def test_wrong_options_are_named(change, message):
    with pytest.raises(InputError, match=message):
        RandAugment(**(OPTIONS | change)).check()


def test_without_layers_the_operations_may_be_empty():
    RandAugment(**(OPTIONS | {"layers": 0, "operations": ()})).check()
