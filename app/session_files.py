"""Temporary files of the page: one folder for all, one folder in it for each session."""

import re
import shutil
import threading
from collections import defaultdict
from pathlib import Path
from secrets import token_hex

PREFIX = "sgm_vfi_app_"  # of the name of the folder


def hide_folders(text: str) -> str:
    """Return a text with the names of temporary files instead of their paths."""
    return re.sub(rf"/\S*{PREFIX}\w+/\S+/", "", text)


class SessionFiles:
    """Knows which files belong to which session, and deletes them when it ends.

    Args:
        root: folder of all temporary files.
    """

    def __init__(self, root: Path) -> None:
        self.uploads, self.results = root / "uploads", root / "results"
        self._folders: dict[str, Path] = {}
        self._uploaded: defaultdict[str, set[Path]] = defaultdict(set)
        self._cancels: dict[str, threading.Event] = {}
        for folder in (self.uploads, self.results):
            folder.mkdir(parents=True)

    def folder(self, session: str) -> Path:
        """Return the folder for results of a session; nobody can guess its name."""
        folder = self._folders.setdefault(session, self.results / token_hex(16))
        folder.mkdir(exist_ok=True)
        return folder

    def add_upload(self, session: str, path: str | None) -> None:
        """Take note of a file that a session uploaded. Sessions share files of equal content."""
        if path is not None:
            self._uploaded[session].add(Path(path))

    def start_job(self, session: str) -> threading.Event:
        """Return the event that cancels the job which a session starts."""
        self._cancels[session] = threading.Event()
        return self._cancels[session]

    def cancel_job(self, session: str) -> None:
        """Ask the job of a session, if any, to stop."""
        if session in self._cancels:
            self._cancels[session].set()

    def end(self, session: str) -> None:
        """Cancel the job of a session, and delete all its files."""
        self.cancel_job(session)
        shutil.rmtree(self._folders.pop(session, self.results / "none"), ignore_errors=True)
        mine = self._uploaded.pop(session, set())
        for path in mine.difference(*self._uploaded.values()):
            path.unlink(missing_ok=True)
