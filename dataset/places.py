"""Where files are written: whether they can be, and what to do where there is no room left."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset.frames import FrameError


def require_place(path: Path) -> None:
    """Refuse a file's name where none can be made; folders that are missing around it can be."""
    if path.is_dir():
        raise FrameError(f"Cannot write {path}: it is a folder.")
    folder = existing_around(path)
    if not folder.is_dir():
        raise FrameError(f"Cannot write {path}: {folder} is a file, no folder.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FrameError(
            f"Cannot write {path}: no file can be made in {folder} ({error.strerror})."
        ) from error


def existing_around(path: Path) -> Path:
    """The nearest of the folders around a path that is there."""
    return next(folder for folder in path.resolve().parents if folder.exists())


@contextmanager
def going_on_when_full(folder: Path) -> Iterator[None]:
    """Where the disk is full, say what is kept in a folder and what to do, not just a number."""
    try:
        yield
    except (ValueError, OSError) as error:
        reasons = {getattr(part, "errno", None) for part in (error, error.__cause__)}
        if not reasons & {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise FrameError(
            f"The disk is full. What is finished is kept in {folder}: make room, and the same "
            f"command goes on."
        ) from error
