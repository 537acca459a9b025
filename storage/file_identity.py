"""Identities of files: whether an input is still the same, and hashes of contents."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

END_BYTES = 2**14  # at the beginning and at the end of a file
BLOCK_BYTES = 2**20


class InputChangedError(ValueError):
    """An input was replaced or changed while it was in use; the message names it."""


class FileIdentity(NamedTuple):
    """What tells whether a file is still the same, without reading all of it."""

    path: Path
    size: int
    modified: int  # nanoseconds
    inode: int
    ends: str  # hash of the first and the last bytes


def identify_file(path: Path) -> FileIdentity:
    """Return the identity of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(END_BYTES))
        size = file.seek(0, 2)
        file.seek(max(size - END_BYTES, 0))
        digest.update(file.read(END_BYTES))
    stat = path.stat()
    return FileIdentity(path, stat.st_size, stat.st_mtime_ns, stat.st_ino, digest.hexdigest())


def identify_files(paths: Iterable[Path]) -> tuple[FileIdentity, ...]:
    """Return the identities of those paths that are files."""
    return tuple(identify_file(path) for path in paths if path.is_file())


def require_unchanged(identities: Iterable[FileIdentity]) -> None:
    """Raise InputChangedError if a file is gone, or another one than it was."""
    for old in identities:
        if not old.path.is_file():
            raise InputChangedError(
                f"{old.path} disappeared while it was in use. Put it back and give the same "
                f"command again."
            )
        new = identify_file(old.path)
        if new != old:
            what = "replaced by another file" if new.inode != old.inode else "changed"
            raise InputChangedError(
                f"{old.path} was {what} while it was in use ({old.size} bytes before, {new.size} "
                f"now): nothing was made of it. Give the command again when it stays as it is."
            )


def fingerprint_files(identities: Sequence[FileIdentity]) -> str:
    """Return a fingerprint of the names, sizes, modification times and ends of files.

    It does not depend on where the files are: a copy that keeps its times is the same input.
    """
    facts = [(file.path.name, file.size, file.modified, file.ends) for file in identities]
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()
    return f"{len(identities)} files, {digest[:12]}"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the names and hashes of its files."""
    if not path.is_dir():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [(file.relative_to(path).as_posix(), sha256(file)) for file in files]
    return hashlib.sha256(repr(listed).encode()).hexdigest()
