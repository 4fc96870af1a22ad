"""Reports the errors of programs: one line on stderr, and an exit status.

Status 2 is a mistake of the user, which a second start would repeat. Status 1 is any other failure.
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
# Errors of a full or broken disk.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """Ends the program with one line on stderr after a mistake or a known failure.

    Any other exception passes through.
    """
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
            f"{error.filename} can't be written: {error.strerror}; free or repair the disk, then "
            "start again to resume from the last checkpoint",
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
        if _is_backend_error(error):
            _end(_no_backend(error), EXIT_USER_ERROR)
        raise


@contextlib.contextmanager
def output_errors(path: str | Path) -> Iterator[None]:
    """Turns an `OSError` into an `InputError` about --out=path."""
    try:
        yield
    except OSError as error:
        raise InputError(f"--out={path} can't be written: {error.strerror}") from error


def printable(text: str) -> str:
    """Returns a text as one line, with control characters escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _end(problem: str, status: int) -> NoReturn:
    print(f"error: {printable(problem)}", file=sys.stderr)
    sys.exit(status)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Returns whether Python, NumPy, JAX or TensorFlow ran out of memory."""
    while error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return True
        # XLA reports a full device in one way, and an allocation that a CPU can't map in another.
        if isinstance(error, jax.errors.JaxRuntimeError) and re.search(
            r"RESOURCE_EXHAUSTED|\bout of memory\b|bad_alloc", str(error), re.IGNORECASE
        ):
            return True
        error = error.__cause__
    return False


def out_of_memory(error: BaseException) -> str:
    """Returns the message for insufficient memory, with the requested size if it is known."""
    found = re.search(r"allocat\w* (?:of )?([\d.]+ ?(?:[KMGTPE]i?B|bytes))", str(error))
    wanted = f" (for {_readable(found[1])} at once)" if found else ""
    return (
        f"out of memory{wanted}: lower config.train.batch_size or config.eval.batch_size, or set "
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


def _is_backend_error(error: Exception) -> bool:
    """Returns whether JAX could not initialise a backend."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("Unable to initialize backend")
    # CUDA without a GPU fails an assertion that has no message.
    raised = traceback.extract_tb(error.__traceback__)[-1]
    return isinstance(error, AssertionError) and raised.filename.endswith("xla_bridge.py")


def _no_backend(error: Exception) -> str:
    wanted = jax.config.jax_platforms  # type: ignore[attr-defined]  # made at run time
    # JAX's own advice is in brackets at the end.
    reason = " ".join(str(error).partition("(set JAX_")[0].split())[:200] or "it finds none"
    if wanted:
        return (
            f"JAX_PLATFORMS={wanted} asks for devices that JAX can't use here ({reason}): unset it "
            "to use the devices that there are, or install the driver and run "
            "pip install -e '.[train,gpu]' -c constraints.txt, or '.[train,tpu]'"
        )
    return f"JAX can't use a device of this machine: {reason}"


def unused_gpu(devices: Path = Path("/dev"), environment: Mapping[str, str] = os.environ) -> str:
    """Returns a warning if there is an NVIDIA GPU but JAX was installed without CUDA.

    It initialises no device.

    Args:
      devices: folder of device files.
      environment: variables of the process.

    Returns:
      One line; empty if JAX has CUDA, there is no GPU, or the user chose other devices.
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
        "this machine has a GPU, but JAX is installed for the CPU only; to use the GPU, run "
        "pip install -e '.[train,gpu]' -c constraints.txt"
    )
