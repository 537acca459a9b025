"""Atomic writes: a file or a folder has its name only when all of it is on the disk."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

TRASH = ".trash."  # in the names of folders that are being deleted
PART = ".part"  # in the names of files that are being written


class FileWriteError(OSError):
    """A file that cannot be written; the message names it."""

    def __str__(self) -> str:
        return f"Cannot write {self.filename}: {self.strerror}."


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path with the same suffix; after the block, sync and rename it to `path`.

    After an error the temporary file is deleted, and what was at `path` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{PART}{path.suffix}")
    try:
        yield temporary
        rename_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        FileWriteError: the disk is full, there is no such folder, and the like.
    """
    folder = path.parent
    if not folder.is_dir():
        raise FileWriteError(errno.ENOENT, f"there is no folder {folder.resolve()}", str(path))
    try:
        with replace_atomically(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise FileWriteError(error.errno, error.strerror or str(error), str(path)) from error


def remove_temporaries(*paths: Path) -> None:
    """Delete what killed processes left of files, or of all files in folders.

    Only for the owner of a lock on them: it may not be in use by another process.
    """
    for path in paths:
        folder, name = (path, "*") if path.is_dir() else (path.parent, escape(path.stem))
        suffix = ".*" if path.is_dir() else escape(path.suffix)
        for file in folder.glob(f".{name}.[0-9]*{PART}{suffix}"):
            file.unlink(missing_ok=True)


def rename_durably(source: Path, target: Path) -> None:
    """Rename a file or a folder after its contents are on the disk, so that no crash undoes it."""
    if source.is_dir():
        for file in source.rglob("*"):
            sync(file)
    sync(source)
    source.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    if os.name == "nt":  # which cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_folder(folder: Path) -> None:
    """Delete a folder: it first loses its name at once, so that no crash leaves a part of it.

    What a crash leaves of an earlier deletion is deleted too.
    """
    if folder.is_dir():
        folder.replace(folder.with_name(f".{folder.name}{TRASH}{os.getpid()}"))
    remove_trash(folder)


def remove_trash(folder: Path) -> None:
    """Delete what is left of earlier deletions of a folder."""
    if not folder.parent.is_dir():
        return
    for left in folder.parent.iterdir():
        if left.name.startswith(f".{folder.name}{TRASH}"):
            shutil.rmtree(left, ignore_errors=True)
