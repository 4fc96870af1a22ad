"""Host memory that a step keeps for the next one.

XLA allocates the temporaries of a program anew for every execution on a CPU. glibc gives blocks of
their size back to the operating system as they are freed, and the next step faults every page of
them in again: 20,000 page faults a step in the gradient of a small network, a third of its time.
"""

import ctypes
import os
from collections.abc import Mapping

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

# Larger blocks still come from and go back to the system: kept as well, they would leave holes
# between them that the next larger block does not fit in, and twice the peak memory was seen.
_LARGEST_KEPT = 128 << 20
_MOST_KEPT = 256 << 20  # bytes at the end of the heap; what is free inside it is kept anyway

_CHOSEN_BY_USER = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Lets the process keep freed blocks of up to 128 MB, so that steps need not fault them in.

    Works with glibc, and where no environment variable says that the user has chosen an allocator
    or its settings himself; does nothing elsewhere. Call it before there are threads: those that
    have an arena of their own by then keep it.

    Args:
      environment: variables of the process.

    Returns:
      Whether it has done anything.
    """
    if any(name.startswith(_CHOSEN_BY_USER) for name in environment):
        return False
    process = ctypes.CDLL(None)
    if not (hasattr(process, "gnu_get_libc_version") and hasattr(process, "mallopt")):
        return False
    # An older glibc refuses a threshold above 32 MB; without it the others would be of no use.
    if not process.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT):
        return False
    process.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
    # Arenas of threads, XLA's among them, are unmapped whatever the threshold is.
    process.mallopt(_M_ARENA_MAX, 1)
    return True


def release_freed_memory() -> None:
    """Gives the system back what is free inside the heap, where glibc can.

    To be called before the first step: what setting up has freed would stay beside a step's
    temporaries, which do not fit into it.
    """
    process = ctypes.CDLL(None)
    if hasattr(process, "malloc_trim"):
        process.malloc_trim(0)
