"""Checks of zip archives, which PyTorch's checkpoints are, before anything of them is unpacked."""

import zipfile
from pathlib import Path

MAX_EXPANSION = 16  # unpacked bytes per byte of the file; PyTorch does not compress


def require_sound_archive(path: Path) -> None:
    """Raise ValueError for an archive that is damaged, or that unpacks to far more than it holds.

    PyTorch verifies neither. Older published files are no archives, and have no checksums.

    Raises:
        zipfile.BadZipFile: the list of its members is damaged.
    """
    if not zipfile.is_zipfile(path):
        return
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        declared = sum(member.file_size for member in archive.infolist())
        if declared > MAX_EXPANSION * size:
            raise ValueError(
                f"its members unpack to {declared} bytes, of a file of {size}: it was made to fill "
                f"the memory"
            )
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} is wrong")
