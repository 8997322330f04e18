"""How the C library handles the memory that tensors on the CPU come and go in."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""
KEEP = 2**30
"""Bytes of freed memory that stay with the process."""
LARGEST_FROM_HEAP = 2**25
"""Bytes; the most that glibc allows."""


def keep_freed_memory() -> None:
    """Let this process keep what it frees, up to 1 GiB, instead of handing it back and asking for it again.

    A pass of a small network frees and takes megabytes every millisecond, and each page that comes back from the system
    is cleared first: that is a third of the pass. Only glibc can be told; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP)
            libc.mallopt(M_TRIM_THRESHOLD, KEEP)
