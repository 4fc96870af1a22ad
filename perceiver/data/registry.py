"""Loads data sets by the names that `config.data.name` takes.

This module imports without TensorFlow; it imports a loader's module when its data set is loaded.
"""

import importlib
import inspect

from perceiver.data.dataset import Dataset, Loader, with_held_out
from perceiver.errors import InputError
from perceiver.names import look_up, unknown

# The module whose function `load` is the loader, or a loader that a user's program has added.
LOADERS: dict[str, str | Loader] = {
    "digits": "perceiver.data.digits",
    "image_folder": "perceiver.data.images.folder",
    "tfds_images": "perceiver.data.images.tfds_images",
    "audioset": "perceiver.data.clips.audioset",
    "clip_folder": "perceiver.data.clips.clip_folder",
    "modelnet40": "perceiver.data.points.modelnet40.loader",
    "point_folder": "perceiver.data.points.folder",
}


def load(name: str, *, held_out: float = 0.0, held_out_seed: int = 0, **options) -> Dataset:
    """Loads the data set called `name`.

    Args:
      name: a key of LOADERS.
      held_out: fraction of the training examples to hold out for model selection.
      held_out_seed: seed of the random choice of these examples.
      **options: arguments of the data set's loader.

    Raises:
      InputError: unknown name, unknown or missing option, or data that the loader cannot use.
    """
    loader = _loader(name)
    parameters = inspect.signature(loader).parameters
    for option in options:
        if option not in parameters:
            raise InputError(unknown(option, parameters, what=f"{name} option"))
    missing = [
        option
        for option, parameter in parameters.items()
        if parameter.default is parameter.empty and option not in options
    ]
    if missing:
        raise InputError(f"data set {name!r} lacks its option {', '.join(missing)}: set it")
    return with_held_out(loader(**options), held_out, held_out_seed)


def _loader(name: str) -> Loader:
    loader = look_up(LOADERS, name, what="data set")
    return importlib.import_module(loader).load if isinstance(loader, str) else loader
