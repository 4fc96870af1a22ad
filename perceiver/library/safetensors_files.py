"""Writes and reads networks as safetensors files: arrays by name, with config and class names.

The arrays are called 'params/MODULE/NAME' and 'state/MODULE/NAME', with the names of Haiku. The
metadata in the header has one entry, 'perceiver': JSON with the version of the format, the config,
the class names, the step, and a digest of the arrays, which the format itself does not protect.
Reading a file runs none of its content.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from perceiver.errors import InputError
from perceiver.library.classifier import Classifier
from perceiver.training.checkpoints.tree_index import host_arrays
from perceiver.training.files import replace_file

FORMAT_VERSION = 1
_ENTRY = "perceiver"
# Types of the metadata that belong to the network.
_METADATA_TYPES = {"config": dict, "num_classes": int, "class_names": list, "step": int | None}

Variables = dict[str, dict[str, np.ndarray]]


class SavedNetwork(NamedTuple):
    """The content of a file.

    Attributes:
      params: parameters by module and name.
      state: Haiku state by module and name; empty for a Perceiver.
      config: config of the network, as plain values.
      num_classes: number of outputs of the head.
      class_names: names of the classes in the order of the outputs; empty if unknown.
      step: number of training steps; None if unknown.
    """

    params: Variables
    state: Variables
    config: dict[str, Any]
    num_classes: int
    class_names: tuple[str, ...]
    step: int | None


def write_safetensors(classifier: Classifier, path: str | Path) -> None:
    """Writes a network to a file: parameters, state, config and class names.

    The same network always gives the same bytes. The file is written atomically.

    Args:
      classifier: the network.
      path: path of the file, which is replaced if it exists.

    Raises:
      InputError: the name of a parameter contains a '/', which separates modules; or the config
        can't be written as JSON.
      OSError: the file can't be written.
    """
    variables = {"params": classifier.params, "state": classifier.state}
    for modules in variables.values():
        for module, arrays in modules.items():
            for name in arrays:
                if "/" in name:
                    raise InputError(f"{name!r} of {module} has a '/' in its name: rename it.")
    arrays = {name: _contiguous(array) for name, array in host_arrays(variables).items()}
    metadata = {
        "format_version": FORMAT_VERSION,
        "arrays_sha256": _digest(arrays),
        "project_version": project_version(),
        "num_classes": classifier.num_classes,
        "class_names": list(classifier.class_names),
        "step": classifier.step,
        "config": classifier.config,
    }
    # One entry, because several would be written in a different order each time.
    entries = {_ENTRY: json.dumps(metadata, allow_nan=False, ensure_ascii=False)}
    replace_file(Path(path), safetensors.numpy.save(arrays, entries))


def read_safetensors(path: str | Path) -> SavedNetwork:
    """Reads a file that `write_safetensors` has written.

    Raises:
      InputError: the file is missing, damaged, not written by `write_safetensors`, or of a newer
        version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        # The reader checks all sizes against the size of the file before it reads any array.
        with safetensors.safe_open(path, framework="np") as file:
            metadata = _parse_metadata(path, file.metadata())
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        message = f"{path} is damaged or no safetensors file: {reason(error)}"
        raise InputError(f"{message}; export it again") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {reason(error)}") from error
    if metadata["arrays_sha256"] != _digest(arrays):
        raise InputError(f"{path} is damaged: its arrays have changed; export it again")
    variables: dict[str, Variables] = {"params": {}, "state": {}}
    for name, array in arrays.items():
        kind, _, rest = name.partition("/")
        module, _, parameter = rest.rpartition("/")
        if kind not in variables or not module:
            raise InputError(
                f"{path} is damaged: {name!r} is not the name of an array of a network"
            )
        variables[kind].setdefault(module, {})[parameter] = array
    return SavedNetwork(
        **variables,
        config=metadata["config"],
        num_classes=metadata["num_classes"],
        class_names=tuple(metadata["class_names"]),
        step=metadata["step"],
    )


def is_written_here(path: str | Path) -> bool:
    """Returns whether `write_safetensors` wrote a file, in any version."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return _ENTRY in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return False


def project_version() -> str | None:
    """Returns the version of this project; None if it is not installed."""
    try:
        return importlib.metadata.version("perceiver-jax")
    except importlib.metadata.PackageNotFoundError:
        return None


def reason(error: Exception) -> str:
    """Returns the message of an error in one line, or its type if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__


def _parse_metadata(path: Path, entries: Mapping[str, str] | None) -> dict[str, Any]:
    """Parses the metadata in the header and checks that `write_safetensors` wrote it."""
    text = (entries or {}).get(_ENTRY)
    if text is None:
        raise InputError(
            f"{path} is a safetensors file from elsewhere: it does not say which network its "
            "arrays belong to; give one that experiments.export has written"
        )
    damaged = f"{path} is damaged: its metadata can't be read; export it again"
    try:
        metadata = json.loads(text)
        version = metadata["format_version"]
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise InputError(
                f"{path} has format {version} and this version of the project reads up to "
                f"{FORMAT_VERSION}; use a newer version"
            )
        valid = version == FORMAT_VERSION and all(
            isinstance(metadata[entry], kind) for entry, kind in _METADATA_TYPES.items()
        )
        valid = valid and all(isinstance(name, str) for name in metadata["class_names"])
        metadata["arrays_sha256"]  # raises a KeyError if it is missing
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(damaged) from error
    if not valid:
        raise InputError(damaged)
    return metadata


def _contiguous(array: np.ndarray) -> np.ndarray:
    """Returns an array in C order; `ascontiguousarray` would add an axis to a scalar."""
    return np.require(array, requirements="C")


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of all names, dtypes, shapes and values in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
