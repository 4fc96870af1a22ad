"""Folders of pictures: augmentation in training, and evaluation compared with Pillow."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from perceiver.data.images import folder as image_folder
from perceiver.errors import InputError


@pytest.fixture
def ramp(tmp_path):
    """A folder with one class of 300 x 200 pictures that get brighter to the right and below."""
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
    images = next(source.train_batches(batch_size=60, seed=0))["image"] / 255
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


WHOLE = {"crop_area": (0.999, 1.0), "crop_aspect": (1.499, 1.501), "flip": False}


def test_randaugment_is_applied_before_resizing(ramp, folder_options):
    options = folder_options | WHOLE | {"image_size": 30}
    options |= {"randaugment_layers": 1, "randaugment_operations": ("translate_x",)}
    options |= {"randaugment_magnitude": 10.0, "randaugment_fill": 200}
    source = image_folder.load(dir=str(ramp), **options).train
    images = next(source.train_batches(batch_size=40, seed=0))["image"]
    # 100 of 300 pixels come in from the left or the right: 10 columns of 30, less the edge's blur.
    from_left = (images[:, :, :8] == 200).all((1, 2, 3))
    from_right = (images[:, :, -8:] == 200).all((1, 2, 3))
    assert (from_left ^ from_right).all()
    assert 5 < from_left.sum() < 35
    assert (images[:, :, 12:18, 2] == 0).all()


def test_flip_comes_before_randaugment(tmp_path, folder_options):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = 255
    (tmp_path / "a").mkdir()
    for number in range(4):
        Image.fromarray(pixels).save(tmp_path / "a" / f"{number}.png")
    options = folder_options | {"crop_area": (0.999, 1.0), "crop_aspect": (0.999, 1.001)}
    options |= {"randaugment_layers": 1, "randaugment_operations": ("shear_y",)}
    options |= {"randaugment_magnitude": 10.0, "randaugment_fill": 0}
    source = image_folder.load(dir=str(tmp_path), **options).train
    images = next(source.train_batches(batch_size=40, seed=0))["image"].astype(int)
    # A shear leaves the left side where it is; mirrored later, half would have it on the right.
    as_it_was = np.repeat([255, 0], 8)
    assert np.abs(images[:, :, 0, 0] - as_it_was).sum(1).max() < 255
    assert np.abs(images[:, :, -1, 0] - as_it_was).sum(1).min() > 2 * 255


def test_evaluation_is_not_augmented(ramp, folder_options):
    plain, augmented = (
        next(image_folder.load(dir=str(ramp), **options).eval.eval_batches(batch_size=2))
        for options in (folder_options, folder_options | {"randaugment_layers": 3})
    )
    np.testing.assert_array_equal(plain["image"], augmented["image"])


def test_pictures_are_mixed_in_training_only(ramp, folder_options):
    data = image_folder.load(dir=str(ramp), **folder_options, cutmix_alpha=1.0)
    assert "label_weight" in next(data.train.train_batches(batch_size=4, seed=0))
    assert "label_weight" not in next(data.eval.eval_batches(batch_size=2))


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
def test_evaluation_equals_pillow(files, folder_options, image_size):
    options = folder_options | {"image_size": image_size, "val_fraction": 0.4}
    source = image_folder.load(dir=str(files / "pictures"), **options).eval
    (batch,) = source.eval_batches(batch_size=source.num_examples)
    for image, index in zip(batch["image"], batch["index"], strict=True):
        expected = by_pillow(source.name(index), image_size)
        difference = np.abs(image - expected)
        # At the edge of a crop the decoder has no colour from beyond it to upsample with.
        edge = image_size // 32
        assert difference[edge:-edge, edge:-edge].max() < 0.55, source.name(index)
        assert difference.mean() < 0.35, source.name(index)


def test_labels_and_bytes(tmp_path, folder_options, add_pictures):
    for name in ("a", "b b", "-c", "d"):
        add_pictures(tmp_path / "train" / name, 2)
        add_pictures(tmp_path / "val" / name, 40)
    data = image_folder.load(dir=str(tmp_path), **folder_options)
    batch = next(data.eval.eval_batches(batch_size=120))
    assert batch["image"].dtype == np.uint8
    names = [data.class_names[label] for label in batch["label"]]
    assert all(f"/{n}/" in data.eval.name(i) for n, i in zip(names, batch["index"], strict=True))
    assert len(set(names)) == 3


def test_greyscale_has_the_requested_channels(tmp_path, folder_options):
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    (tmp_path / "a").mkdir()
    for number in range(4):
        Image.fromarray(pixels).save(tmp_path / "a" / f"{number}.png")
    three = next(
        image_folder.load(dir=str(tmp_path), **folder_options).eval.eval_batches(batch_size=1)
    )
    options = folder_options | {"channels": 1}
    one = next(image_folder.load(dir=str(tmp_path), **options).eval.eval_batches(batch_size=1))
    assert three["image"].shape == (1, 16, 16, 3)
    assert one["image"].shape == (1, 16, 16, 1)
    np.testing.assert_array_equal(three["image"], np.repeat(one["image"], 3, -1))


def test_a_picture_of_one_pixel_works(tmp_path, folder_options):
    (tmp_path / "a").mkdir()
    for number in range(4):
        Image.new("RGB", (1, 1), (50, 100, 150)).save(tmp_path / "a" / f"{number}.png")
    data = image_folder.load(dir=str(tmp_path), **folder_options)
    image = next(data.eval.eval_batches(batch_size=1))["image"]
    np.testing.assert_array_equal(image[0], np.full((16, 16, 3), (50, 100, 150)))
    assert next(data.train.train_batches(batch_size=3, seed=0))["image"].shape == (3, 16, 16, 3)


@pytest.mark.parametrize(
    "damage", [lambda contents: contents[: len(contents) // 2], lambda contents: contents[:3]]
)
def test_a_truncated_picture_is_named(files, tmp_path, folder_options, damage):
    (tmp_path / "a").mkdir()
    contents = (files / "pictures/building/roof.jpg").read_bytes()
    for number in range(8):
        (tmp_path / "a" / f"{number}.jpg").write_bytes(contents)
    data = image_folder.load(dir=str(tmp_path), **folder_options)
    broken = data.eval.name(1)
    pathlib.Path(broken).write_bytes(damage(contents))
    with pytest.raises(InputError, match=re.escape(broken)):
        list(data.eval.eval_batches(batch_size=2))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"channels": 4}, "channels is 4"),
        ({"image_size": 0}, "image_size is 0"),
        ({"crop_area": (0.5, 0.1)}, "crop_area"),
        ({"crop_area": (0.5, 1.1)}, "crop_area"),
        ({"crop_area": (0.08,)}, "crop_area"),
        ({"crop_area": (0.08, 0.5, 1.0)}, "crop_area"),
        ({"crop_aspect": (0.0, 1.0)}, "crop_aspect"),
        ({"crop_aspect": (1.0,)}, "crop_aspect"),
        ({"crop_aspect": (1.0, float("inf"))}, "crop_aspect"),
        ({"randaugment_translate": float("nan")}, "randaugment_translate is nan"),
        ({"randaugment_cutout": float("inf")}, "randaugment_cutout is inf"),
        ({"randaugment_layers": -1}, "randaugment_layers is -1"),
        ({"randaugment_operations": ("flip",)}, "operation of RandAugment 'flip'"),
        ({"mixup_alpha": -1.0}, "mixup_alpha is -1"),
    ],
)
def test_wrong_options_are_named(tmp_path, folder_options, change, named):
    with pytest.raises(InputError, match=named):
        image_folder.load(dir=str(tmp_path), **(folder_options | change))
