"""What the processes of a run decide and do together, so that none of them goes on alone.

Every process makes the same calls in the same order. A run of one process talks to nobody.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

T = TypeVar("T")


def from_first(decide: Callable[[], T]) -> T:
    """Returns in every process what `decide` returned in process 0, which alone calls it.

    Args:
      decide: returns what JSON can hold, and does not raise: the others would wait for ever.
    """
    if jax.process_count() == 1:
        return decide()
    first = jax.process_index() == 0
    message = np.frombuffer(json.dumps(decide()).encode() if first else b"", np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(message.size, np.int32)))
    if not first:
        message = np.zeros(size, np.uint8)
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(message)).tobytes())


def exchange(message: Any) -> list[Any]:
    """Returns what each process has to say, in their order.

    Args:
      message: what JSON can hold.
    """
    text = np.frombuffer(json.dumps(message).encode(), np.uint8)
    if jax.process_count() == 1:
        return [json.loads(text.tobytes())]
    sizes = multihost_utils.process_allgather(np.asarray(text.size, np.int32))
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: text.size] = text
    received = multihost_utils.process_allgather(padded)
    return [json.loads(x[:n].tobytes()) for x, n in zip(received, sizes, strict=True)]


def together(action: Callable[[], T]) -> T:
    """Returns what `action` returns in this process, if it succeeded in all of them.

    Raises:
      Exception: whatever `action` raised here.
      RuntimeError: it raised in another process; the message has its number.
    """
    if jax.process_count() == 1:
        return action()
    try:
        result = action()
    except Exception:
        _failed(here=True)
        raise
    failed = _failed(here=False)
    if failed.any():
        raise RuntimeError(f"process {int(np.argmax(failed))} could not")
    return result


def _failed(*, here: bool) -> np.ndarray:
    """Which processes failed, as a boolean each."""
    return np.asarray(multihost_utils.process_allgather(np.asarray(here)))
