"""Settings of the C memory allocator, for tensors on the CPU."""

import ctypes
import os
import sys
from pathlib import Path

MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD = -3, -1, -2  # names of glibc's mallopt(3)
KEPT = {MMAP_THRESHOLD: 2**26, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}  # bytes

PLENTY = 8 * 2**30  # bytes
MEMORY_INFO = Path("/proc/meminfo")  # on Linux


def keep_freed_memory(plenty: int = PLENTY) -> bool:
    """Make glibc keep freed tensors of up to 64 MiB for reuse, if memory is plentiful.

    By default glibc returns large tensors to the system, which clears their pages again. Affects
    the whole process; has no effect with other C libraries.

    Args:
        plenty: bytes of memory that must be free.

    Returns: whether the setting was accepted.
    """
    if not sys.platform.startswith("linux"):
        return False
    if available_memory() < plenty:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, size) for name, size in KEPT.items())


def available_memory(info: Path = MEMORY_INFO) -> int:
    """Return the bytes that Linux can give without swapping; cached files count, as they can go."""
    for line in info.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
