"""Opens a data set that TFDS has prepared, using only the files in its folder.

`features.json` describes each feature by the name of its Python class, and TFDS imports the module
of that class. A data set may come from an untrusted source, so names outside of TFDS are refused
before TFDS reads the file.
"""

import json
import os
from collections.abc import Iterator

import tensorflow_datasets as tfds
from google.protobuf import json_format

from perceiver.data.errors import reason
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# Files that TFDS writes last into the folder of a data set.
INFO_FILES = ("dataset_info.json", "features.json")

_TFDS_PREFIX = "tensorflow_datasets."
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")  # 'type' before TFDS 4.5

# Errors that TFDS raises for a description that is JSON but invalid.
_DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, json_format.Error)


def open_folder(dir: str, advice: str) -> tfds.core.DatasetBuilder:
    """Opens the data set in a folder, in any file system that TensorFlow reads.

    Args:
      dir: folder of one version of the data set, with the two INFO_FILES.
      advice: advice in messages about a missing or damaged file.

    Raises:
      InputError: one of INFO_FILES is missing or damaged, or names a class outside of TFDS.
    """
    for name in INFO_FILES:
        path = os.path.join(dir, name)
        try:
            with tf.io.gfile.GFile(path) as file:
                description = json.loads(file.read())
            if not isinstance(description, dict):
                raise ValueError("it is not a JSON object")
            foreign = [c for c in _classes(description) if not c.startswith(_TFDS_PREFIX)]
        except (tf.errors.OpError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is missing or damaged ({reason(error)}): {advice}") from error
        if name == "features.json" and foreign:
            raise InputError(
                f"{path}: refused: it names {foreign[0]!r}, code outside of TFDS that would be "
                "run: prepare the data set with features of TFDS only"
            )
    try:
        return tfds.builder_from_directory(dir)
    except _DAMAGED as error:
        raise InputError(
            f"the description of {dir!r} is damaged ({reason(error)}): {advice}"
        ) from error


def _classes(description: object) -> Iterator[str]:
    """Yields the names of all classes in a description."""
    if isinstance(description, dict):
        for key, value in description.items():
            if key in _CLASS_KEYS and isinstance(value, str):
                yield value
            elif key == "content" and isinstance(value, str):
                yield from _classes(json.loads(value))  # TFDS parses it as JSON, too
            else:
                yield from _classes(value)
    elif isinstance(description, list):
        for value in description:
            yield from _classes(value)
