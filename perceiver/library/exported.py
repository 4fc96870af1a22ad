"""A network's forward function in one file, which runs with JAX alone, without this project.

The file is an uncompressed zip archive of two members, so that the names of the classes can't be
parted from the function, and the archive's checksums tell damage: `jax.export` has none.

    forward.bin  the function with its parameters inside, as `jax.export` serialises it: inputs by
                 modality [B, ...] to {"logits", "probabilities"}, float32 [B, classes]
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
from perceiver.library.classifier import Classifier
from perceiver.library.safetensors_files import project_version, reason
from perceiver.names import look_up
from perceiver.training.files import replace_file

FORMAT = "perceiver-jax forward function"
FORMAT_VERSION = 1
PLATFORMS = ("cpu", "cuda", "tpu")
_KNOWN_PLATFORMS = dict.fromkeys((*PLATFORMS, "rocm"))
_PROGRAM, _ABOUT = "forward.bin", "model.json"
_FACTS = {
    "inputs": dict,
    "num_classes": int,
    "class_names": list,
    "multi_label": bool,
    "step": int | None,
    "batch_size": int | None,
    "config": dict,
}

Inputs = Mapping[str, jax.Array | np.ndarray]


class Exported:
    """A forward function that was read from a file.

    Attributes:
      about: all that model.json says.
      inputs: shape and dtype of one example by modality, without the axis B.
      class_names: in the order of the outputs; empty where they are not known.
      multi_label: whether an example may have several classes.
      batch_size: the one B that it takes; None where it takes any.
      step: after so many training steps; None where that is not known.
      config: the values of the config, as its JSON has them.
    """

    def __init__(self, about: Mapping[str, Any], forward: Callable[[Inputs], dict[str, jax.Array]]):
        """Takes what model.json says, and the function."""
        self.about = about
        self.inputs = {
            name: jax.ShapeDtypeStruct(tuple(spec["shape"][1:]), np.dtype(spec["dtype"]))
            for name, spec in about["inputs"].items()
        }
        self.class_names = tuple(about["class_names"])
        self.multi_label = about["multi_label"]
        self.batch_size = about["batch_size"]
        self.step = about["step"]
        self.config = about["config"]
        self._forward = jax.jit(forward)

    def logits(self, inputs: Inputs) -> jax.Array:
        """Class logits, float32 [B, classes].

        Raises:
          InputError: inputs of other modalities, sizes or dtypes than `inputs` says.
        """
        return self._forward(self._checked(inputs))["logits"]

    def probabilities(self, inputs: Inputs) -> jax.Array:
        """Probabilities of the classes, float32 [B, classes].

        Raises:
          InputError: as for `logits`.
        """
        return self._forward(self._checked(inputs))["probabilities"]

    def _checked(self, inputs: Inputs) -> dict[str, jax.Array]:
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
            wanted = f"{self.batch_size}" if self.batch_size else "as many of each"
            raise InputError(f"inputs are of {sorted(sizes)} examples; give {wanted}")
        return dict(inputs)


def export_forward(
    classifier: Classifier,
    path: str | Path,
    *,
    batch_size: int | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> None:
    """Writes the forward function, its parameters inside, to a file.

    Args:
      classifier: the network.
      path: the file, which appears whole; one that is there is replaced.
      batch_size: the one B that the function is to take; None for any.
      platforms: on which it is to run, of 'cpu', 'cuda', 'rocm' and 'tpu'; not all need be here.

    Raises:
      InputError: another platform, none, or a batch size below 1.
      OSError: the file can't be written.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give 1 or more, or None for any")
    if not platforms:
        raise InputError(f"no platform is given; give some of {', '.join(_KNOWN_PLATFORMS)}")
    for platform in platforms:
        look_up(_KNOWN_PLATFORMS, platform, what="platform")
    program = _program(classifier, batch_size, platforms)
    size = "B" if batch_size is None else batch_size

    def described(name: str, spec: jax.ShapeDtypeStruct) -> tuple[str, dict[str, Any]]:
        return name, {"shape": [size, *spec.shape], "dtype": np.dtype(spec.dtype).name}

    outputs = jax.ShapeDtypeStruct((classifier.num_classes,), jnp.float32)
    about = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "versions": {"perceiver-jax": project_version(), "jax": jax.__version__},
        "inputs": dict(described(*item) for item in classifier.inputs.items()),
        "outputs": dict(described(name, outputs) for name in ("logits", "probabilities")),
        "batch_size": batch_size,
        "platforms": list(platforms),
        "num_classes": classifier.num_classes,
        "class_names": list(classifier.class_names),
        "multi_label": classifier.multi_label,
        "step": classifier.step,
        "config": classifier.config,
    }
    text = json.dumps(about, indent=2, allow_nan=False, ensure_ascii=False)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for name, data in ((_ABOUT, text.encode()), (_PROGRAM, program)):
            file.writestr(zipfile.ZipInfo(name), data)  # without the time of day: the same bytes
    replace_file(Path(path), archive.getvalue())


def load(path: str | Path) -> Exported:
    """Reads what `export_forward` has written.

    The function is a program: load only what comes from somebody you trust.

    Raises:
      InputError: the file is missing, damaged, from elsewhere, of a newer version, or from a JAX
        whose functions this one can't read.
    """
    path = Path(path)
    about, program = _read(path)
    try:
        forward = export.deserialize(bytearray(program))
    except Exception as error:  # whatever JAX meets in a version that it can't read
        raise InputError(
            f"{path} was exported with jax {about['versions']['jax']}, which jax {jax.__version__} "
            f"can't read: {reason(error)}; export it once more"
        ) from error
    return Exported(about, forward.call)


def is_written_here(path: str | Path) -> bool:
    """Whether a file is one that `export_forward` has written, of whatever version."""
    try:
        return bool(_about(Path(path), _member(path, _ABOUT)))
    except InputError as error:
        return isinstance(error, _NewerError)


class _NewerError(InputError):
    """A file of a later format."""


def _program(classifier: Classifier, batch_size: int | None, platforms: Sequence[str]) -> bytes:
    """The function as `jax.export` serialises it."""

    def outputs(logits):
        return {"logits": logits, "probabilities": classifier.probabilities_of(logits)}

    def of_batch(inputs):
        return outputs(classifier.logits(inputs))

    def of_each(inputs):
        # A network goes by B, such as when it chooses how to attend. Mapped over the examples it
        # sees one, whatever B will be.
        one = jax.vmap(lambda x: classifier.logits({k: v[None] for k, v in x.items()})[0])
        return outputs(one(inputs))

    if batch_size is None:
        (size,), function = export.symbolic_shape("B"), of_each
    else:
        size, function = batch_size, of_batch
    specs = {
        name: jax.ShapeDtypeStruct((size, *spec.shape), spec.dtype)
        for name, spec in classifier.inputs.items()
    }
    with _without_source_lines():
        exported = export.export(jax.jit(function), platforms=list(platforms))(specs)
    return bytes(exported.serialize())


@contextlib.contextmanager
def _without_source_lines() -> Iterator[None]:
    """A context in which JAX does not write into programs which lines of which files made them.

    With them a file tells the folders of the machine that wrote it, and is another each time.
    """
    option = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, option)
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """What model.json says, and the function."""
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    return _about(path, _member(path, _ABOUT)), _member(path, _PROGRAM)


def _member(path: str | Path, name: str) -> bytes:
    """A member of the archive, its checksum checked."""
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
        raise InputError(f"{message}; export it once more") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {reason(error)}") from error


def _about(path: Path, text: bytes) -> dict[str, Any]:
    """What model.json says, once it is known to be ours and whole."""
    message = f"{path} is not an exported function: its {_ABOUT} is another's or damaged"
    try:
        about = json.loads(text)
        version = about["format_version"] if about["format"] == FORMAT else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise _NewerError(
                f"{path} has format {version} and this version of the project reads up to "
                f"{FORMAT_VERSION}; take a newer version"
            )
        whole = version == FORMAT_VERSION and all(
            isinstance(about[fact], kind) for fact, kind in _FACTS.items()
        )
        about["versions"]["jax"]  # that it is there
    except _NewerError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(message) from error
    if not whole:
        raise InputError(message)
    return about
