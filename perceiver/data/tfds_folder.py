"""Opens data sets that TFDS prepared, from the files in their folder alone.

Their features are described in `features.json`, each by the name of its class in Python, and TFDS
imports the module that such a name begins with. A data set may come from anywhere, so names that
are not TFDS's own are refused before it looks at them.
"""

import json
import os
from collections.abc import Iterator

import tensorflow_datasets as tfds
from google.protobuf import json_format

from perceiver.data.errors import reason
from perceiver.data.tensorflow_cpu import tf
from perceiver.errors import InputError

# What TFDS writes last into the folder of a data set.
INFO_FILES = ("dataset_info.json", "features.json")

_OWN = "tensorflow_datasets."
_OF_CLASSES = ("pythonClassName", "python_class_name", "type")  # 'type' of TFDS before 4.5

# What TFDS raises where a description is JSON but not what it should be.
_DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, json_format.Error)


def open_folder(dir: str, advice: str) -> tfds.core.DatasetBuilder:
    """Opens a data set that is in a folder, on this machine or wherever TensorFlow reads from.

    Args:
      dir: the folder of one version, with the two INFO_FILES.
      advice: what to do where they are damaged, for messages.

    Raises:
      InputError: one of them is missing or damaged, or names a class that is not TFDS's own.
    """
    for name in INFO_FILES:
        path = os.path.join(dir, name)
        try:
            with tf.io.gfile.GFile(path) as file:
                description = json.loads(file.read())
            if not isinstance(description, dict):
                raise ValueError("it is no JSON object")
            foreign = [c for c in _classes(description) if not c.startswith(_OWN)]
        except (tf.errors.OpError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is missing or damaged ({reason(error)}): {advice}") from error
        if name == "features.json" and foreign:
            raise InputError(
                f"{path}: refused: it names {foreign[0]!r}, code that is not TFDS's own and that "
                "would be run: prepare the data set with features of TFDS alone"
            )
    try:
        return tfds.builder_from_directory(dir)
    except _DAMAGED as error:
        raise InputError(
            f"the description of {dir!r} is damaged ({reason(error)}): {advice}"
        ) from error


def _classes(description: object) -> Iterator[str]:
    """The names of classes anywhere in a description."""
    if isinstance(description, dict):
        for key, value in description.items():
            if key in _OF_CLASSES and isinstance(value, str):
                yield value
            elif key == "content" and isinstance(value, str):
                yield from _classes(json.loads(value))  # as TFDS takes it too
            else:
                yield from _classes(value)
    elif isinstance(description, list):
        for value in description:
            yield from _classes(value)
