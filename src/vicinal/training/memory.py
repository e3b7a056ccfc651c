"""Memory of one training step serves the next, so that a CPU does not map it anew each time."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# From glibc's malloc.h, which gives them no other name to Python.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
NEVER = -1
MIB = 2**20


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keeps freed memory for the next allocation instead of handing it back to the system.

    glibc maps every block above 32 MiB anew and unmaps it when it is freed. A batch's
    activations are such blocks, so each step would have the kernel find, clear and map
    hundreds of thousands of pages again. On leaving, what is free is handed back. Where
    the C library is another one, this does nothing.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    # Older versions refuse a threshold above 32 MiB; they can be told to map no block at all.
    if not libc.mallopt(M_MMAP_THRESHOLD, 1024 * MIB):
        libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        # Where the thresholds come to lie by themselves once large blocks have been freed.
        libc.mallopt(M_MMAP_MAX, 65536)
        libc.mallopt(M_MMAP_THRESHOLD, 32 * MIB)
        libc.mallopt(M_TRIM_THRESHOLD, 64 * MIB)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
