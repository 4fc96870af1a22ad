"""Fixtures that make folders of pictures."""

import pathlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def add_pictures() -> Callable[..., list[pathlib.Path]]:
    """Returns a function that writes `count` small noise pictures to a new folder."""

    def add(folder: pathlib.Path, count: int, suffix: str = ".png") -> list[pathlib.Path]:
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(count).integers(0, 255, (count, 20, 24, 3), np.uint8)
        paths = [folder / f"{number:03}{suffix}" for number in range(count)]
        for path, pixels in zip(paths, noise, strict=True):
            Image.fromarray(pixels).save(path)
        return paths

    return add


@pytest.fixture
def folder_options() -> dict:
    """Options of image_folder: small pictures, no RandAugment, a quarter for validation."""
    return {
        "image_size": 16,
        "channels": 3,
        "val_fraction": 0.25,
        "split_seed": 0,
        "crop_area": (0.08, 1.0),
        "crop_aspect": (3 / 4, 4 / 3),
        "flip": True,
    }
