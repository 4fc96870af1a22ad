"""Communication between the processes of a run, so that all of them decide and fail together.

Every process makes the same calls in the same order. A run of one process does not communicate.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

T = TypeVar("T")


def broadcast_from_first(compute: Callable[[], T]) -> T:
    """Calls `compute` in process 0 and returns its result in every process.

    Args:
      compute: function whose result can be written as JSON. It must not raise an error, because the
        other processes would wait forever.
    """
    if jax.process_count() == 1:
        return compute()
    first = jax.process_index() == 0
    message = np.frombuffer(json.dumps(compute()).encode() if first else b"", np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(message.size, np.int32)))
    if not first:
        message = np.zeros(size, np.uint8)
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(message)).tobytes())


def exchange(message: Any) -> list[Any]:
    """Returns the messages of all processes, in the order of the processes.

    Args:
      message: message of this process, which can be written as JSON.
    """
    text = np.frombuffer(json.dumps(message).encode(), np.uint8)
    if jax.process_count() == 1:
        return [json.loads(text.tobytes())]
    sizes = multihost_utils.process_allgather(np.asarray(text.size, np.int32))
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: text.size] = text
    received = multihost_utils.process_allgather(padded)
    return [json.loads(x[:n].tobytes()) for x, n in zip(received, sizes, strict=True)]


def run_together(action: Callable[[], T]) -> T:
    """Returns the result of `action` in this process if `action` succeeded in all processes.

    Raises:
      Exception: the error that `action` raised in this process.
      RuntimeError: `action` failed in another process; the message has its number.
    """
    if jax.process_count() == 1:
        return action()
    try:
        result = action()
    except Exception:
        _gather_failures(failed=True)
        raise
    failed = _gather_failures(failed=False)
    if failed.any():
        raise RuntimeError(f"process {int(np.argmax(failed))} failed")
    return result


def _gather_failures(*, failed: bool) -> np.ndarray:
    """Returns whether each process failed, bool [processes]."""
    return np.asarray(multihost_utils.process_allgather(np.asarray(failed)))
