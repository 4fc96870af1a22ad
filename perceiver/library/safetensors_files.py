"""What a network has learned, in a file of safetensors: numbers by name, with what they belong to.

The arrays are called 'params/MODULE/NAME' and 'state/MODULE/NAME', as Haiku calls modules and what
is in them. The header's metadata have one entry, 'perceiver': JSON with the format's version, the
config, the names of the classes, the step, and a digest of the arrays, which the format itself does
not protect. A file is read without running anything that it says.
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
# Of metadata, besides the format's own; what the file says of each is of this type.
_FACTS = {"config": dict, "num_classes": int, "class_names": list, "step": int | None}

Variables = dict[str, dict[str, np.ndarray]]


class Saved(NamedTuple):
    """What is in a file.

    Attributes:
      params: the network's parameters, by module and name.
      state: what it gathered in training beside them, in the same form; empty for a Perceiver.
      config: the values of the config, as its JSON has them.
      num_classes: outputs of the head.
      class_names: in the order of the outputs; empty where they are not known.
      step: after so many training steps; None where that is not known.
    """

    params: Variables
    state: Variables
    config: dict[str, Any]
    num_classes: int
    class_names: tuple[str, ...]
    step: int | None


def write_safetensors(classifier: Classifier, path: str | Path) -> None:
    """Writes a network's parameters and state, and what they belong to, to a file.

    The same network gives the same bytes. The file appears whole, see `replace_file`.

    Args:
      classifier: the network.
      path: the file; one that is there is replaced.

    Raises:
      InputError: a name that could not be told from a module's, as there is a '/' in it; or a
        config that JSON can't hold.
      OSError: the file can't be written.
    """
    variables = {"params": classifier.params, "state": classifier.state}
    for modules in variables.values():
        for module, arrays in modules.items():
            for name in arrays:
                if "/" in name:
                    raise InputError(f"{name!r} of {module} has a '/' in its name: rename it.")
    arrays = {name: _plain(array) for name, array in host_arrays(variables).items()}
    about = {
        "format_version": FORMAT_VERSION,
        "arrays_sha256": _digest(arrays),
        "project_version": project_version(),
        "num_classes": classifier.num_classes,
        "class_names": list(classifier.class_names),
        "step": classifier.step,
        "config": classifier.config,
    }
    # A single entry: several would be written in another order each time.
    metadata = {_ENTRY: json.dumps(about, allow_nan=False, ensure_ascii=False)}
    replace_file(Path(path), safetensors.numpy.save(arrays, metadata))


def read_safetensors(path: str | Path) -> Saved:
    """Reads what `write_safetensors` has written.

    Raises:
      InputError: the file is missing, damaged, cut short, from elsewhere or of a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        # The format's reader holds all sizes against that of the file before it reads any array.
        with safetensors.safe_open(path, framework="np") as file:
            about = _about(path, file.metadata())
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        message = f"{path} is damaged or no safetensors file: {reason(error)}"
        raise InputError(f"{message}; export it once more") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {reason(error)}") from error
    if about["arrays_sha256"] != _digest(arrays):
        raise InputError(f"{path} is damaged: its arrays have changed; export it once more")
    variables: dict[str, Variables] = {"params": {}, "state": {}}
    for name, array in arrays.items():
        kind, _, rest = name.partition("/")
        module, _, own_name = rest.rpartition("/")
        if kind not in variables or not module:
            raise InputError(f"{path} is damaged: {name!r} is no array of a network's")
        variables[kind].setdefault(module, {})[own_name] = array
    return Saved(
        **variables,
        config=about["config"],
        num_classes=about["num_classes"],
        class_names=tuple(about["class_names"]),
        step=about["step"],
    )


def is_written_here(path: str | Path) -> bool:
    """Whether a file is one that `write_safetensors` has written, of whatever version."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return _ENTRY in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return False


def project_version() -> str | None:
    """The version of this project; None where it is run without being installed."""
    try:
        return importlib.metadata.version("perceiver-jax")
    except importlib.metadata.PackageNotFoundError:
        return None


def reason(error: Exception) -> str:
    """What an error of a library says, in one line, or its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def _about(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """What the header says, once it is known to be ours and whole."""
    text = (metadata or {}).get(_ENTRY)
    if text is None:
        raise InputError(
            f"{path} is a safetensors file from elsewhere: it does not say which network its "
            "arrays belong to; give one that experiments.export has written"
        )
    damaged = f"{path} is damaged: its metadata can't be read; export it once more"
    try:
        about = json.loads(text)
        version = about["format_version"]
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise InputError(
                f"{path} has format {version} and this version of the project reads up to "
                f"{FORMAT_VERSION}; take a newer version"
            )
        whole = version == FORMAT_VERSION and all(
            isinstance(about[fact], kind) for fact, kind in _FACTS.items()
        )
        whole = whole and all(isinstance(name, str) for name in about["class_names"])
        about["arrays_sha256"]  # that it is there
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(damaged) from error
    if not whole:
        raise InputError(damaged)
    return about


def _plain(array: np.ndarray) -> np.ndarray:
    """The array as it is written: C order, which `ascontiguousarray` would give an axis more."""
    return np.require(array, requirements="C")


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all names, dtypes, shapes and values, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
