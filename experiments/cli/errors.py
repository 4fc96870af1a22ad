"""How the programs answer a user's mistake, and what fails for a known reason: in one line.

Exit status 2 is a mistake, to be mended before the program is started again; 1 is a failure.
"""

import contextlib
import errno
import importlib.metadata
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import jax

from experiments.cli.distributed import MeetingError, ProcessesError
from perceiver.errors import InputError
from perceiver.training.checkpoints import CheckpointError, MissingCheckpointError

EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
# What a disk does wrong, full or broken.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """A context in which a mistake or a fault that has a message of its own ends the program."""
    try:
        yield
    except (InputError, ProcessesError, MissingCheckpointError) as error:
        _end(str(error), EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except (CheckpointError, FloatingPointError, MeetingError) as error:
        _end(str(error), EXIT_FAILED)
    except OSError as error:
        if error.errno not in _DISK or error.filename is None:
            if error.errno == errno.ENOMEM:
                _end(out_of_memory(error), EXIT_FAILED)
            raise
        _end(
            f"{error.filename} can't be written: {error.strerror}; see to the disk, then "
            "start again to go on from the last checkpoint",
            EXIT_FAILED,
        )
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "configs", "experiments", "perceiver"):
            raise
        _end(
            f"{sys.executable} has no package {package}: run pip install -e '.[train]' "
            "-c constraints.txt in the checkout, with the environment active",
            EXIT_USER_ERROR,
        )
    except Exception as error:
        if is_out_of_memory(error):
            _end(out_of_memory(error), EXIT_FAILED)
        if _is_of_backends(error):
            _end(_no_backend(error), EXIT_USER_ERROR)
        raise


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """A context in which a fault of the disk is the answer to --out."""
    try:
        yield
    except OSError as error:
        raise InputError(f"--out={path} can't be written: {error.strerror}") from error
    except RuntimeError as error:  # of a ~ before the name of nobody here
        raise InputError(f"--out={path} can't be written: {error}") from error


def shown(name: str) -> str:
    """A name on one line, without what would steer a terminal."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name
    )


def _end(problem: str, status: int) -> NoReturn:
    print(f"error: {shown(problem)}", file=sys.stderr)
    sys.exit(status)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was what failed: Python's and NumPy's, JAX's of a device, or TensorFlow's."""
    while error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return True
        # XLA says the one of a device's memory, the other of what a CPU can't even map.
        if isinstance(error, jax.errors.JaxRuntimeError) and re.search(
            r"RESOURCE_EXHAUSTED|\bout of memory\b|bad_alloc", str(error), re.IGNORECASE
        ):
            return True
        error = error.__cause__
    return False


def out_of_memory(error: BaseException) -> str:
    """Says in a line that memory was not enough, for how much at once, and what takes less."""
    found = re.search(r"allocat\w* (?:of )?([\d.]+ ?(?:[KMGTPE]i?B|bytes))", str(error))
    wanted = f" (for {_readable(found[1])} at once)" if found else ""
    return (
        f"out of memory{wanted}: lower config.train.batch_size or config.eval.batch_size, or take "
        "--config.train.accumulate=4, --config.model.remat=block or --config.model.dtype=bfloat16"
    )


def _readable(size: str) -> str:
    if not size.endswith(" bytes"):
        return size.replace(". ", " ")  # NumPy writes 256. PiB
    count = float(size.removesuffix(" bytes"))
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.3g} {unit}"
        count /= 1000
    raise AssertionError


def _is_of_backends(error: Exception) -> bool:
    """Whether JAX could not have the devices that it was to take."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("Unable to initialize backend")
    # For CUDA without a GPU it has no message, only an assertion that does not hold.
    raised = traceback.extract_tb(error.__traceback__)[-1]
    return isinstance(error, AssertionError) and raised.filename.endswith("xla_bridge.py")


def _no_backend(error: Exception) -> str:
    wanted = jax.config.jax_platforms
    # Its own advice is in brackets at the end.
    said = " ".join(str(error).partition("(set JAX_")[0].split())[:200] or "it finds none"
    if wanted:
        return (
            f"JAX_PLATFORMS={wanted} asks for devices that JAX can't use here ({said}): unset it "
            "to take what there is, or see to the driver and to "
            "pip install -e '.[train,gpu]' -c constraints.txt, or '.[train,tpu]'"
        )
    return f"JAX can't use a device of this machine: {said}"


def unused_gpu(devices: Path = Path("/dev"), environment: Mapping[str, str] = os.environ) -> str:
    """Says in a line that there is an NVIDIA GPU and a JAX that was installed without CUDA.

    It starts no device. Empty where all is well, or the user asked for other devices.
    """
    asked = environment.get("JAX_PLATFORMS") or environment.get("CUDA_VISIBLE_DEVICES") in (
        "",
        "-1",
    )
    if asked or not any(devices.glob("nvidia[0-9]*")):
        return ""
    if any(
        "cuda" in plugin.name for plugin in importlib.metadata.entry_points(group="jax_plugins")
    ):
        return ""
    return (
        "this machine has a GPU, but JAX is installed for the CPU alone: "
        "pip install -e '.[train,gpu]' -c constraints.txt makes it use the GPU"
    )
