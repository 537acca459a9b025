"""Pieces of work, and the folder where finished ones wait, past any crash, to be joined."""

import json
import os
import shutil
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dataset.frames import write_whole
from video.timeline import Moment

LENGTH = 240  # frames: what is lost, at most, when a run is cut off
SETTINGS = "plan.json"


class UnfinishedError(ValueError):
    """A folder holds work that does not fit: the message says what differs and what to do."""


class Segment(NamedTuple):
    """Consecutive output frames that are encoded by themselves."""

    number: int
    moments: tuple[Moment, ...]


def segments(
    moments: Iterable[Moment], scenes: Container[int] = (), length: int = LENGTH
) -> Iterator[Segment]:
    """Cut a timeline into pieces.

    A piece ends before a source frame: the first after `length` output frames, or one that begins
    a scene from half of that on.

    Args:
        scenes: source frames that begin one.
    """
    number, held = 0, []
    for moment in moments:
        is_new = held and moment.left != held[-1].left
        enough = length // 2 if moment.left in scenes else length
        if is_new and len(held) >= enough:
            yield Segment(number, tuple(held))
            number, held = number + 1, []
        held.append(moment)
    yield Segment(number, tuple(held))


@dataclass(frozen=True)
class Workplace:
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
            UnfinishedError: the folder holds work with other settings; or none, and `must_exist`.
        """
        if restart:
            self.remove()
        file = self.folder / SETTINGS
        if not self.is_open():
            if must_exist:
                raise UnfinishedError(
                    f"There is nothing to resume: {self.folder} holds no unfinished work."
                )
            if any(not file.name.startswith(".") for file in self.folder.glob("*")):
                raise UnfinishedError(f"{self.folder} holds files of something else; move them.")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(settings, indent=1).encode())
            return False
        old = json.loads(file.read_text(encoding="utf-8"))
        changed = [
            f"{name} ({old.get(name)}, now {settings.get(name)})"
            for name in sorted(old.keys() | settings.keys())
            if old.get(name) != settings.get(name)
        ]
        if changed:
            raise UnfinishedError(
                f"{self.folder} holds unfinished work with other settings: {'; '.join(changed)}. "
                f"Finish it with its own, or give it up with --restart."
            )
        return True

    def piece(self, number: int, reel: str = "") -> Path:
        """Where the pictures of a segment are once it is finished.

        Args:
            reel: name of a view that is written beside the video itself.
        """
        return self.folder / f"{number:05d}{reel}{self.suffix}"

    def begun(self, number: int, reel: str = "") -> Path:
        """Where they are before that; another process has another place."""
        return self.folder / f".{number:05d}{reel}.{os.getpid()}{self.suffix}"

    def record(self, number: int) -> dict[str, Any] | None:
        """What is known about a finished segment; None: it is not finished."""
        file = self.folder / f"{number:05d}.json"
        if not file.is_file():
            return None
        return json.loads(file.read_text(encoding="utf-8"))

    def finish(self, number: int, record: dict[str, Any]) -> None:
        """Keep a segment whose pictures are complete."""
        for reel in record["reels"]:
            piece = self.piece(number, reel)
            if piece.is_dir():  # left by a crash before the record was written
                shutil.rmtree(piece)
            self.begun(number, reel).replace(piece)
        write_whole(self.folder / f"{number:05d}.json", json.dumps(record).encode())

    def discard(self, number: int) -> None:
        """Delete what was written of a segment that will not be finished."""
        for file in self.folder.glob(f".{number:05d}*.{os.getpid()}{self.suffix}"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    def remove(self) -> None:
        """Delete all of it."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)
