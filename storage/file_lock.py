"""Locks between processes: one job at a time writes an output, a run, or a file of rows.

The lock is `flock` on a small file, which the system releases when its owner ends in any way. The
file says who the owner is; it is deleted with the lock.
"""

import json
import logging
import os
import socket
import time
import weakref
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

PATIENCE = 2.0  # seconds in which a killed owner's last threads end
POLL_SECONDS = 0.05
WAIT_SECONDS = 1.0  # between looks at a lock that is waited for

logger = logging.getLogger(__name__)


class LockedError(ValueError):
    """Another process works on the same; the message says which."""


class FileLock:
    """A lock that this process holds until `release`, the end of the `with` block, or its death.

    Args:
        path: file of the lock.
        work: what the lock protects, for messages.
        group: what distinguishes the processes that share the lock from others, if several do.
    """

    def __init__(self, path: Path, work: str | Path, group: str = "") -> None:
        self.path, self.work, self.group = path, work, group
        self._descriptor: int | None = None
        self._made: list[Path] = []

    def acquire(self) -> "FileLock":
        """Take the lock.

        Raises:
            LockedError: another process has it.
        """
        self._made = [folder for folder in self.path.parents if not folder.exists()]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + PATIENCE
        while not self._try_once():
            if time.monotonic() > deadline:
                raise LockedError(describe_owner(self.path, self.work))
            time.sleep(POLL_SECONDS)
        self.note()
        _held.add(self)
        return self

    def release(self) -> None:
        """Delete the file of the lock, and folders that were made for it alone; release it."""
        if self._descriptor is None:
            return
        self.path.unlink(missing_ok=True)
        self.close()
        with suppress(OSError):  # something else is in it
            for folder in self._made:
                folder.rmdir()

    def close(self) -> None:
        """Forget the lock without releasing it, as in a forked process."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "FileLock":
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _try_once(self) -> bool:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _flock(descriptor, self.path):
                os.close(descriptor)
                return False
            found = os.stat(self.path)
        except FileNotFoundError:  # its owner released it just now
            os.close(descriptor)
            return False
        if found.st_ino != os.fstat(descriptor).st_ino:  # likewise, and a third process has it
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def note(self, **facts: str) -> None:
        """Write who the owner is into the file of the lock, and facts about its work."""
        assert self._descriptor is not None
        since = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(owner | {"group": self.group, **facts}).encode(), 0)


_held: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


def _close_in_child() -> None:
    """Close the locks of the parent: a worker that outlives it must not keep them."""
    for lock in list(_held):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def require_unlocked(path: Path, work: str | Path, *, wait: bool = False) -> None:
    """Raise LockedError if a process holds a lock; take nothing.

    Args:
        wait: log who holds it, and wait until it is free.
    """
    told = False
    while is_locked(path):
        if not wait:
            raise LockedError(describe_owner(path, work))
        if not told:
            logger.warning(
                "%s Waiting for it.", describe_owner(path, work).partition(". ")[0] + "."
            )
        told = True
        time.sleep(WAIT_SECONDS)


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock."""
    if fcntl is None or not path.is_file():
        return False
    with suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_owner(path: Path) -> dict[str, Any]:
    """Return what the file of a lock says about its owner; nothing if there is none."""
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def describe_owner(path: Path, work: str | Path) -> str:
    """Return a sentence about who works on what, and what to do."""
    owner = read_owner(path)
    who = "Another process"
    if "pid" in owner:
        who = f"Process {owner['pid']} on {owner.get('host')}"
    since = f" since {owner['since']}" if "since" in owner else ""
    return f"{who} works on {work}{since}. Wait until it has finished, or end it first."


def _flock(descriptor: int, path: Path) -> bool:
    """Return whether the lock was taken; warn and return True where there are no locks."""
    if fcntl is None:
        logger.warning("%s: there are no file locks here. Start no job twice.", path)
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        logger.warning(
            "%s: this disk has no file locks (%s). Start no job twice.", path, error.strerror
        )
    return True
