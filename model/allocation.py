"""How the C library handles the memory of tensors on the CPU."""

import ctypes
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD = -3, -1, -2  # names of glibc's mallopt(3)
KEPT = {MMAP_THRESHOLD: 2**30, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}  # bytes


def keep_freed_memory() -> bool:
    """Let the process keep what tensors give back, for the next ones.

    By default glibc returns every large tensor to the system, which clears its pages anew for the
    next one: a fifth of the time of all that is bound by memory. Affects the whole process; does
    nothing where the C library is another one.

    Returns: whether the library understood.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, size) for name, size in KEPT.items())
