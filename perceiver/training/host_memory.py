"""Makes glibc keep freed host memory from step to step.

On a CPU, XLA allocates the temporaries of a program again for every execution. glibc returns blocks
of their size to the operating system when they are freed, and the next step faults in every page
again: 20,000 page faults per step in the gradient of a small network, a third of its time.
"""

import ctypes
import os
from collections.abc import Mapping

# Constants of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

# Larger blocks are still returned to the system. If they were kept, the holes between them would be
# too small for the next larger block; twice the peak memory was observed.
_MAX_KEPT_BLOCK = 128 << 20  # bytes
_MAX_KEPT_AT_END = 256 << 20  # bytes at the end of the heap; free memory inside it is always kept

_USER_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Makes the process keep freed blocks of up to 128 MB, so that a step does not fault them in.

    Has no effect without glibc, or if an environment variable shows that the user has chosen an
    allocator or its settings. Must be called before threads are started: a thread that already has
    a separate arena keeps it.

    Args:
      environment: environment variables of the process.

    Returns:
      True if the settings were changed.
    """
    if any(name.startswith(_USER_SETTINGS) for name in environment):
        return False
    process = ctypes.CDLL(None)
    if not (hasattr(process, "gnu_get_libc_version") and hasattr(process, "mallopt")):
        return False
    # An older glibc rejects a threshold above 32 MB; without it the other settings are useless.
    if not process.mallopt(_M_MMAP_THRESHOLD, _MAX_KEPT_BLOCK):
        return False
    process.mallopt(_M_TRIM_THRESHOLD, _MAX_KEPT_AT_END)
    # Arenas of threads, for example those of XLA, are unmapped whatever the threshold is.
    process.mallopt(_M_ARENA_MAX, 1)
    return True


def release_freed_memory() -> None:
    """Returns the free memory of the heap to the operating system, if glibc can.

    Call it before the first step. Otherwise the process keeps the memory that the set-up has freed,
    and the temporaries of a step, which do not fit into it, are added.
    """
    process = ctypes.CDLL(None)
    if hasattr(process, "malloc_trim"):
        process.malloc_trim(0)
