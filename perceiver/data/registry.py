"""Data sets by the names that `config.data.name` takes."""

import inspect

from perceiver.data import digits
from perceiver.data.clips import audioset, clip_folder
from perceiver.data.held_out import hold_out
from perceiver.data.images import folder as image_folder
from perceiver.data.images import tfds_images
from perceiver.data.points import folder as point_folder
from perceiver.data.points.modelnet40 import loader
from perceiver.data.source import Dataset
from perceiver.errors import InputError
from perceiver.names import unknown

LOADERS = {
    "digits": digits.load,
    "image_folder": image_folder.load,
    "tfds_images": tfds_images.load,
    "audioset": audioset.load,
    "clip_folder": clip_folder.load,
    "modelnet40": loader.load,
    "point_folder": point_folder.load,
}


def load(name: str, *, held_out: float = 0.0, held_out_seed: int = 0, **options) -> Dataset:
    """Loads the data set called `name`.

    Args:
      name: a key of LOADERS.
      held_out: share of the training examples to set apart, to choose by.
      held_out_seed: decides which.
      **options: the arguments of its loader, as that one documents them.

    Raises:
      InputError: an unknown name or option, a missing option, or data that are not as they should
        be; a `dir` that does not exist among them.
    """
    if name not in LOADERS:
        raise InputError(unknown(name, LOADERS, what="data set"))
    parameters = inspect.signature(LOADERS[name]).parameters
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
    return hold_out(LOADERS[name](**options), held_out, held_out_seed)
