"""Pieces of work, and the folder where finished ones wait, past any crash, to be joined."""

import json
import os
import shutil
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sgm_vfi.media.images import write_atomically
from sgm_vfi.video.timeline import OutputFrame

LENGTH = 240  # frames: what is lost, at most, when a run is cut off
SETTINGS = "plan.json"
UNFINISHED = "unfinished.json"


class UnfinishedWorkError(ValueError):
    """A folder holds work that does not fit: the message says what differs and what to do."""


class Segment(NamedTuple):
    """Consecutive output frames that are encoded by themselves."""

    number: int
    output_frames: tuple[OutputFrame, ...]


def segments(
    output_frames: Iterable[OutputFrame], scenes: Container[int] = (), length: int = LENGTH
) -> Iterator[Segment]:
    """Cut a timeline into pieces.

    A piece ends before a source frame: the first after `length` output frames, or one that begins
    a scene from half of that on.

    Args:
        scenes: source frames that begin one.
    """
    number, held = 0, []
    for output_frame in output_frames:
        is_new = held and output_frame.left != held[-1].left
        enough = length // 2 if output_frame.left in scenes else length
        if is_new and len(held) >= enough:
            yield Segment(number, tuple(held))
            number, held = number + 1, []
        held.append(output_frame)
    yield Segment(number, tuple(held))


def require_same_settings(
    folder: Path, old: dict[str, Any], new: dict[str, Any], instead: str
) -> None:
    """Refuse to go on with work that was begun with other settings, and name them.

    Args:
        instead: what else can be done than to finish it, as an order.
    """
    changed = [
        f"{name} ({old.get(name)}, now {new.get(name)})"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if changed:
        raise UnfinishedWorkError(
            f"{folder} holds unfinished work with other settings: {'; '.join(changed)}. "
            f"Finish it with its own, or {instead}."
        )


class FolderProgress:
    """How many of a folder's files are done, which are written in order, past any interruption.

    It is counted in a file of the folder, with the settings, as long as some are missing: that a
    file is there does not tell, it may be of an earlier run.
    """

    def __init__(self, files: Sequence[Path], settings: dict[str, Any]) -> None:
        self.files = files
        self.settings = json.loads(json.dumps(settings))  # as they are read again
        self.journal = files[0].parent / UNFINISHED

    def done(self) -> int:
        """How many files an interrupted run with the same settings has left.

        Raises:
            UnfinishedWorkError: one with other settings was interrupted.
        """
        if not self.journal.is_file():
            return 0
        old = json.loads(self.journal.read_text(encoding="utf-8"))
        folder = self.journal.parent
        require_same_settings(
            folder, old["settings"], self.settings, f"empty {folder}, or name another"
        )
        missing = (n for n, file in enumerate(self.files[: old["done"]]) if not file.is_file())
        return next(missing, old["done"])

    def note(self, done: int) -> None:
        """Remember that so many are done."""
        content = {"done": done, "settings": self.settings}
        write_atomically(self.journal, json.dumps(content, indent=1).encode())

    def finish(self) -> None:
        """Forget all, as nothing is missing."""
        self.journal.unlink(missing_ok=True)


@dataclass(frozen=True)
class WorkFolder:
    """A folder beside the output with the finished segments and what they were made from.

    `plan.json` holds the settings; a segment NNNNN is finished when its record NNNNN.json is there,
    which is written after the piece of video itself. Both appear whole or not at all.
    """

    folder: Path
    suffix: str = ".mkv"  # of pieces; none where they are folders

    def is_open(self) -> bool:
        """Whether work was begun here."""
        return (self.folder / SETTINGS).is_file()

    def open(
        self, settings: dict[str, Any], *, must_exist: bool = False, restart: bool = False
    ) -> bool:
        """Begin, or go on where an interrupted run with the same settings was.

        Returns: whether there was one.

        Raises:
            UnfinishedWorkError: work with other settings, or none and `must_exist`.
        """
        if restart:
            self.remove()
        file = self.folder / SETTINGS
        if not self.is_open():
            if must_exist:
                raise UnfinishedWorkError(
                    f"There is nothing to resume: {self.folder} holds no unfinished work."
                )
            if any(not file.name.startswith(".") for file in self.folder.glob("*")):
                raise UnfinishedWorkError(
                    f"{self.folder} holds files of something else; move them."
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps(settings, indent=1).encode())
            return False
        old = json.loads(file.read_text(encoding="utf-8"))
        require_same_settings(self.folder, old, settings, "give it up with --restart")
        return True

    def piece(self, number: int, view: str = "") -> Path:
        """Where the pictures of a segment are once it is finished.

        Args:
            view: name of a view that is written beside the video itself.
        """
        return self.folder / f"{number:05d}{view}{self.suffix}"

    def begun(self, number: int, view: str = "") -> Path:
        """Where they are before that; another process has another place."""
        return self.folder / f".{number:05d}{view}.{os.getpid()}{self.suffix}"

    def record(self, number: int) -> dict[str, Any] | None:
        """What is known about a finished segment; None: it is not finished."""
        file = self.folder / f"{number:05d}.json"
        if not file.is_file():
            return None
        return json.loads(file.read_text(encoding="utf-8"))

    def finish(self, number: int, record: dict[str, Any]) -> None:
        """Keep a segment whose pictures are complete."""
        for view in record["outputs"]:
            piece = self.piece(number, view)
            if piece.is_dir():  # left by a crash before the record was written
                shutil.rmtree(piece)
            self.begun(number, view).replace(piece)
        write_atomically(self.folder / f"{number:05d}.json", json.dumps(record).encode())

    def discard(self, number: int) -> None:
        """Delete what was written of a segment that will not be finished."""
        for file in self.folder.glob(f".{number:05d}*.{os.getpid()}{self.suffix}"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    def remove(self) -> None:
        """Delete all of it."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)
