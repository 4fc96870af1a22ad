"""Pictures out of files: crops within their ranges, evaluation as Pillow does it."""

import numpy as np
import pytest
from PIL import Image

from perceiver.data.errors import DataError
from perceiver.data.images import folder as image_folder
from perceiver.data.images import pictures
from perceiver.data.pipeline import eval_batches, train_iterator
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
    whole = (h == height) & (w == width)  # what is left after ten attempts
    assert whole.mean() < 0.02
    share, ratio = (h * w / (height * width))[~whole], (w / h)[~whole]
    # Sides are whole pixels: the share is off by up to 1.5%, the ratio by up to 1%.
    assert area[0] * 0.985 <= share.min() < area[0] + 0.1 * (area[1] - area[0])
    assert area[1] * 1.015 >= share.max() > area[1] - 0.2 * (area[1] - area[0])
    assert aspect[0] * 0.99 <= ratio.min() < aspect[0] * 1.03
    assert aspect[1] * 1.01 >= ratio.max() > aspect[1] * 0.97
    assert top.std() > 20
    assert left.std() > 20


@pytest.fixture
def ramp(tmp_path):
    """Folder with one class of pictures, 300 x 200, that are bright to the right and below."""
    row, column = np.mgrid[0:200, 0:300]
    pixels = np.stack([column / 299 * 255, row / 199 * 255, 0 * row], -1).round().astype(np.uint8)
    (tmp_path / "only").mkdir()
    for number in range(8):
        Image.fromarray(pixels).save(tmp_path / "only" / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("flip", [True, False])
def test_training_crops_and_flips(ramp, folder_options, flip):
    options = folder_options | {"crop_area": (0.25, 0.26), "crop_aspect": (1.0, 1.0), "flip": flip}
    source = image_folder.load(dir=str(ramp), **options).train
    images = next(train_iterator(source, batch_size=60, seed=0))["image"]
    # Columns 2 to 13 of 16, away from the borders; the crop is a square of 123 or 124 pixels.
    across = (images[:, 8, 13, 0] - images[:, 8, 2, 0]) * 299 / 11 * 16
    down = (images[:, 13, 8, 1] - images[:, 2, 8, 1]) * 199 / 11 * 16
    np.testing.assert_allclose(np.abs(across), 123.5, atol=3)
    np.testing.assert_allclose(down, 123.5, atol=3)
    mirrored = (across < 0).mean()
    assert (0.25 < mirrored < 0.75) if flip else (mirrored == 0)
    middle = images[:, 8, 8, 0] * 299
    assert middle.min() < 61 + 50
    assert middle.max() > 239 - 50


def by_pillow(path, image_size):
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    side = round(min(rgb.size) * 0.875)
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    crop = rgb.crop((left, top, left + side, top + side))
    size = (image_size, image_size)
    # In floating point: as bytes, Pillow rounds and clips between its two passes.
    planes = [plane.convert("F").resize(size, Image.Resampling.BICUBIC) for plane in crop.split()]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], -1), 0, 255)


@pytest.mark.parametrize("image_size", [64, 224])
def test_evaluation_is_what_pillow_makes_of_it(real_data, folder_options, image_size):
    options = folder_options | {"image_size": image_size, "val_fraction": 0.4}
    source = image_folder.load(dir=str(real_data / "imagenet_full"), **options).eval
    (batch,) = eval_batches(source, batch_size=source.num_examples)
    for image, index in zip(batch["image"], batch["index"], strict=True):
        expected = by_pillow(source.name(index), image_size)
        difference = np.abs(image * 255 - expected)
        # At the edge of a crop the decoder has no colour from beyond it to upsample with.
        edge = image_size // 32
        assert difference[edge:-edge, edge:-edge].max() < 0.05, source.name(index)
        assert difference.mean() < 0.1, source.name(index)


def test_normalisation_and_labels(real_data, folder_options):
    plain = folder_options | {"dir": str(real_data / "imagenette224")}
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    as_is = next(eval_batches(image_folder.load(**plain).eval, batch_size=120))
    data = image_folder.load(**(plain | {"mean": mean, "std": std}))
    normalised = next(eval_batches(data.eval, batch_size=120))
    assert as_is["image"].min() >= 0
    assert as_is["image"].max() <= 1
    expected = (as_is["image"] - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(normalised["image"], expected, atol=1e-5)
    names = [data.class_names[label] for label in normalised["label"]]
    assert all(
        f"/{n}/" in data.eval.name(i) for n, i in zip(names, normalised["index"], strict=True)
    )
    assert len(set(names)) == 3


def test_greyscale_becomes_the_channels_asked_for(tmp_path, folder_options):
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    (tmp_path / "a").mkdir()
    for number in range(4):
        Image.fromarray(pixels).save(tmp_path / "a" / f"{number}.png")
    three = next(
        eval_batches(image_folder.load(dir=str(tmp_path), **folder_options).eval, batch_size=1)
    )
    options = folder_options | {"channels": 1, "mean": (0.0,), "std": (1.0,)}
    one = next(eval_batches(image_folder.load(dir=str(tmp_path), **options).eval, batch_size=1))
    assert three["image"].shape == (1, 16, 16, 3)
    assert one["image"].shape == (1, 16, 16, 1)
    np.testing.assert_allclose(three["image"], np.repeat(one["image"], 3, -1), atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("CMYK", ".jpg"), ("L", ".jpg"), ("RGBA", ".png"), ("P", ".png"), ("I;16", ".png")],
)
@pytest.mark.parametrize("renamed", [False, True])
def test_kinds_of_pictures_are_told_by_content(tmp_path, folder_options, mode, suffix, renamed):
    (tmp_path / "a").mkdir()
    if mode == "I;16":
        picture = Image.fromarray(np.full((30, 30), 100 * 257, np.uint16))
    else:
        picture = Image.new("RGB", (30, 30), (100, 100, 100))
        picture = picture.convert(mode, palette=Image.Palette.ADAPTIVE)
    for number in range(4):
        path = tmp_path / "a" / f"{number}{suffix}"
        picture.save(path)
        if renamed:
            path.rename(path.with_suffix(".png" if suffix == ".jpg" else ".jpg"))
    data = image_folder.load(dir=str(tmp_path), **folder_options)
    for image in (
        next(eval_batches(data.eval, batch_size=1))["image"],
        next(train_iterator(data.train, batch_size=2, seed=0))["image"],
    ):
        np.testing.assert_allclose(image * 255, 100, atol=2)


def test_a_picture_of_one_pixel_works(tmp_path, folder_options):
    (tmp_path / "a").mkdir()
    for number in range(4):
        Image.new("RGB", (1, 1), (50, 100, 150)).save(tmp_path / "a" / f"{number}.png")
    data = image_folder.load(dir=str(tmp_path), **folder_options)
    image = next(eval_batches(data.eval, batch_size=1))["image"]
    np.testing.assert_allclose(image[0] * 255, np.full((16, 16, 3), (50, 100, 150)), atol=1e-3)
    assert next(train_iterator(data.train, batch_size=3, seed=0))["image"].shape == (3, 16, 16, 3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"channels": 4}, "channels is 4"),
        ({"channels": 1}, "1 values"),
        ({"image_size": 0}, "image_size is 0"),
        ({"crop_area": (0.5, 0.1)}, "crop_area"),
        ({"crop_area": (0.5, 1.1)}, "crop_area"),
        ({"crop_aspect": (0.0, 1.0)}, "crop_aspect"),
        ({"std": (1.0, 0.0, 1.0)}, "std"),
    ],
)
def test_wrong_options_are_named(tmp_path, folder_options, change, named):
    with pytest.raises(DataError, match=named):
        image_folder.load(dir=str(tmp_path), **(folder_options | change))
