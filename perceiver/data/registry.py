"""Data sets by the names that `config.data.name` takes."""

import inspect

from perceiver.data import digits
from perceiver.data.errors import DataError
from perceiver.data.images import folder as image_folder
from perceiver.data.points import modelnet
from perceiver.data.source import Dataset
from perceiver.names import unknown

LOADERS = {
    "digits": digits.load,
    "image_folder": image_folder.load,
    "modelnet40": modelnet.load,
}


def load(name: str, **options) -> Dataset:
    """Loads the data set called `name`.

    Args:
      name: a key of LOADERS.
      **options: the arguments of its loader, as that one documents them.

    Raises:
      DataError: an unknown name or option, a missing option, or data that are not as they should
        be; a `dir` that does not exist among them.
    """
    if name not in LOADERS:
        raise DataError(unknown(name, LOADERS, what="data set"))
    parameters = inspect.signature(LOADERS[name]).parameters
    for option in options:
        if option not in parameters:
            raise DataError(unknown(option, parameters, what=f"{name} option"))
    missing = [
        option
        for option, parameter in parameters.items()
        if parameter.default is parameter.empty and option not in options
    ]
    if missing:
        raise DataError(f"data set {name!r} lacks its option {', '.join(missing)}: set it")
    return LOADERS[name](**options)
