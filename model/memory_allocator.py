"""How the C library handles the memory of tensors on the CPU."""

import ctypes
import os
import sys

MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD = -3, -1, -2  # names of glibc's mallopt(3)
KEPT = {MMAP_THRESHOLD: 2**26, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}  # bytes

PLENTY = 8 * 2**30  # bytes


def keep_freed_memory(plenty: int = PLENTY) -> bool:
    """Let the process keep what tensors give back, for the next ones, where memory is plentiful.

    By default glibc returns every large tensor to the system, which clears its pages anew for the
    next one. What is kept is in pieces, so that large frames take more memory, and less time:
    hence the largest tensors, which would leave the largest gaps, are still returned. Affects the
    whole process; does nothing where the C library is another one.

    Args:
        plenty: bytes of memory that have to be free.

    Returns: whether the library understood.
    """
    if not sys.platform.startswith("linux"):
        return False
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < plenty:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, size) for name, size in KEPT.items())
