"""Exports the forward function of a network to one file, which runs with JAX alone.

The file is an uncompressed zip archive of two members. It keeps the class names with the function,
and its checksums detect damage, for which `jax.export` has no check.

    forward.bin  the function with its parameters, serialised by `jax.export`: inputs by modality
                 [B, ...] to {"logits", "probabilities"}, float32 [B, classes]
    model.json   class names, config, and shapes and dtypes of inputs and outputs
"""

import contextlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from perceiver.errors import InputError
from perceiver.library.classifier import Array, Classifier, Inputs
from perceiver.library.safetensors_files import project_version, reason
from perceiver.names import look_up
from perceiver.training.files import replace_file

FORMAT = "perceiver-jax forward function"
FORMAT_VERSION = 1
PLATFORMS = ("cpu", "cuda", "tpu")
_KNOWN_PLATFORMS = dict.fromkeys((*PLATFORMS, "rocm"))
_FORWARD_FILE, _METADATA_FILE = "forward.bin", "model.json"
_METADATA_TYPES = {  # of the entries that are read
    "inputs": dict,
    "num_classes": int,
    "class_names": list,
    "multi_label": bool,
    "step": int | None,
    "batch_size": int | None,
    "config": dict,
}


class Exported:
    """A forward function that was read from a file.

    Attributes:
      about: content of model.json.
      inputs: shape and dtype of one example by modality, without the batch axis.
      class_names: names of the classes in the order of the outputs; empty if unknown.
      multi_label: True if an example may have several classes.
      batch_size: the only accepted batch size; None if any is accepted.
      step: number of training steps; None if unknown.
      config: config of the network, as plain values.
    """

    def __init__(
        self,
        metadata: Mapping[str, Any],
        forward: Callable[[Mapping[str, Array]], dict[str, jax.Array]],
    ):
        """Sets the content of model.json and the function."""
        self.about = metadata
        self.inputs = {
            name: jax.ShapeDtypeStruct(tuple(spec["shape"][1:]), np.dtype(spec["dtype"]))
            for name, spec in metadata["inputs"].items()
        }
        self.class_names = tuple(metadata["class_names"])
        self.multi_label = metadata["multi_label"]
        self.batch_size = metadata["batch_size"]
        self.step = metadata["step"]
        self.config = metadata["config"]
        self._forward = jax.jit(forward)

    def logits(self, inputs: Inputs) -> jax.Array:
        """Returns class logits, float32 [B, classes].

        Raises:
          InputError: the modalities, shapes or dtypes of the inputs are not those of `inputs`.
        """
        return self._forward(self._check_inputs(inputs))["logits"]

    def probabilities(self, inputs: Inputs) -> jax.Array:
        """Returns class probabilities, float32 [B, classes].

        Raises:
          InputError: see `logits`.
        """
        return self._forward(self._check_inputs(inputs))["probabilities"]

    def _check_inputs(self, inputs: Inputs) -> dict[str, Array]:
        if not isinstance(inputs, Mapping) and len(self.inputs) == 1:
            inputs = dict.fromkeys(self.inputs, inputs)
        if not isinstance(inputs, Mapping) or inputs.keys() != self.inputs.keys():
            raise InputError(f"give a mapping of {', '.join(self.inputs)} to arrays")
        for name, spec in self.inputs.items():
            array = inputs[name]
            if array.shape[1:] != spec.shape or array.dtype != spec.dtype or not len(array):
                raise InputError(
                    f"{name} is {array.dtype}{list(array.shape)}; the function takes "
                    f"{spec.dtype}[B, {', '.join(map(str, spec.shape))}]"
                )
        sizes = {len(inputs[name]) for name in self.inputs}
        if len(sizes) > 1 or self.batch_size not in (None, *sizes):
            accepted = self.batch_size or "the same number for each modality"
            raise InputError(f"inputs are of {sorted(sizes)} examples; give {accepted}")
        return dict(inputs)


def export_forward(
    classifier: Classifier,
    path: str | Path,
    *,
    batch_size: int | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Writes the forward function, including its parameters, to a file.

    Args:
      classifier: the network.
      path: path of the file, which is written atomically and replaced if it exists.
      batch_size: the only accepted batch size of the function; None to accept any.
      platforms: platforms of the function: 'cpu', 'cuda', 'rocm' or 'tpu'. This machine does not
        need to have them.

    Raises:
      InputError: a platform is unknown, none is given, or the batch size is below 1.
      OSError: the file can't be written.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give 1 or more, or None for any")
    if not platforms:
        raise InputError(f"no platform is given; give some of {', '.join(_KNOWN_PLATFORMS)}")
    for platform in platforms:
        look_up(_KNOWN_PLATFORMS, platform, what="platform")
    program = _serialize_forward(classifier, batch_size, platforms)
    size = "B" if batch_size is None else batch_size

    def describe(name: str, spec: jax.ShapeDtypeStruct) -> tuple[str, dict[str, Any]]:
        return name, {"shape": [size, *spec.shape], "dtype": np.dtype(spec.dtype).name}

    outputs = jax.ShapeDtypeStruct((classifier.num_classes,), jnp.float32)
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "versions": {"perceiver-jax": project_version(), "jax": jax.__version__},
        "inputs": dict(describe(*item) for item in classifier.inputs.items()),
        "outputs": dict(describe(name, outputs) for name in ("logits", "probabilities")),
        "batch_size": batch_size,
        "platforms": list(platforms),
        "num_classes": classifier.num_classes,
        "class_names": list(classifier.class_names),
        "multi_label": classifier.multi_label,
        "step": classifier.step,
        "config": classifier.config,
    }
    text = json.dumps(metadata, indent=2, allow_nan=False, ensure_ascii=False)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for name, data in ((_METADATA_FILE, text.encode()), (_FORWARD_FILE, program)):
            file.writestr(zipfile.ZipInfo(name), data)  # no time stamp, so the same bytes
    replace_file(Path(path), archive.getvalue())


def load(path: str | Path) -> Exported:
    """Loads a function that `export_forward` has written.

    The function is a program: load only files from someone you trust.

    Raises:
      InputError: the file is missing, damaged, not written by `export_forward`, of a newer version,
        or exported with a version of JAX that this one can't read.
    """
    path = Path(path)
    metadata, program = _read(path)
    try:
        forward = export.deserialize(bytearray(program))
    except Exception as error:  # JAX raises errors of many types for a version that it can't read
        raise InputError(
            f"{path} was exported with jax {metadata['versions']['jax']}, and jax "
            f"{jax.__version__} can't read it: {reason(error)}; export it again"
        ) from error
    return Exported(metadata, forward.call)


def is_written_here(path: str | Path) -> bool:
    """Returns whether `export_forward` wrote a file, in any version."""
    try:
        return bool(_parse_metadata(Path(path), _read_member(path, _METADATA_FILE)))
    except InputError as error:
        return isinstance(error, _NewerError)


class _NewerError(InputError):
    """A file has a newer format."""


def _serialize_forward(
    classifier: Classifier, batch_size: int | None, platforms: Sequence[str]
) -> bytes:
    """Returns the forward function, serialised by `jax.export`."""

    def outputs(logits):
        return {"logits": logits, "probabilities": classifier.probabilities_of(logits)}

    def forward_batch(inputs):
        return outputs(classifier.logits(inputs))

    def forward_any_batch(inputs):
        # The network depends on B, for example in the choice of the attention. Mapped over the
        # examples, it gets B = 1.
        one = jax.vmap(lambda x: classifier.logits({k: v[None] for k, v in x.items()})[0])
        return outputs(one(inputs))

    if batch_size is None:
        (size,), function = export.symbolic_shape("B"), forward_any_batch
    else:
        size, function = batch_size, forward_batch
    specs = {
        name: jax.ShapeDtypeStruct((size, *spec.shape), spec.dtype)
        for name, spec in classifier.inputs.items()
    }
    with _without_source_lines():
        exported = export.export(jax.jit(function), platforms=list(platforms))(specs)
    return bytes(exported.serialize())


@contextlib.contextmanager
def _without_source_lines() -> Iterator[None]:
    """Makes JAX leave source files and line numbers out of programs inside the context.

    With them, the file would contain paths of the machine that wrote it, and differ each time.
    """
    option = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, option)
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Returns the content of model.json and the serialised function."""
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    metadata = _parse_metadata(path, _read_member(path, _METADATA_FILE))
    return metadata, _read_member(path, _FORWARD_FILE)


def _read_member(path: str | Path, name: str) -> bytes:
    """Reads a member of the archive and verifies its checksum."""
    try:
        with zipfile.ZipFile(path) as file:
            info = file.getinfo(name)
            if info.compress_type != zipfile.ZIP_STORED:  # it could be of any size
                raise InputError(f"{path} is not an exported function: {name} is compressed")
            return file.read(info)
    except KeyError as error:
        message = f"{path} is a zip archive without {name}, not an exported function"
        raise InputError(f"{message}; give one that experiments.export has written") from error
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        message = f"{path} is damaged or not an exported function: {reason(error)}"
        raise InputError(f"{message}; export it again") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {reason(error)}") from error


def _parse_metadata(path: Path, text: bytes) -> dict[str, Any]:
    """Parses model.json and checks that `export_forward` wrote it."""
    message = f"{path} is not an exported function: its {_METADATA_FILE} is another's or damaged"
    try:
        metadata = json.loads(text)
        version = metadata["format_version"] if metadata["format"] == FORMAT else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise _NewerError(
                f"{path} has format {version} and this version of the project reads up to "
                f"{FORMAT_VERSION}; use a newer version"
            )
        valid = version == FORMAT_VERSION and all(
            isinstance(metadata[entry], kind) for entry, kind in _METADATA_TYPES.items()
        )
        metadata["versions"]["jax"]  # raises a KeyError if it is missing
    except _NewerError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(message) from error
    if not valid:
        raise InputError(message)
    return metadata
