"""Segments of a job, the folder where finished ones wait, and the ranks that share the work."""

import json
import os
import shutil
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sgm_vfi.media.images import write_atomically
from sgm_vfi.video.schedule import OutputFrame

SEGMENT_FRAMES = 240  # output frames that an interruption loses at most
SETTINGS = "plan.json"
POLL_SECONDS = 0.2  # between looks at the progress of other ranks


class UnfinishedWorkError(ValueError):
    """Unfinished work does not fit: the message says what differs and what to do."""


class Segment(NamedTuple):
    """Consecutive output frames that are encoded together."""

    number: int
    output_frames: tuple[OutputFrame, ...]


def split_segments(
    output_frames: Iterable[OutputFrame], scenes: Container[int] = (), length: int = SEGMENT_FRAMES
) -> Iterator[Segment]:
    """Split output frames into segments.

    A segment ends before a source frame: the first one after `length` output frames, or one that
    begins a scene after half of that.

    Args:
        scenes: source frames that begin a scene.
    """
    number = 0
    pending: list[OutputFrame] = []
    for output_frame in output_frames:
        is_new = pending and output_frame.left != pending[-1].left
        enough = length // 2 if output_frame.left in scenes else length
        if is_new and len(pending) >= enough:
            yield Segment(number, tuple(pending))
            number, pending = number + 1, []
        pending.append(output_frame)
    yield Segment(number, tuple(pending))


@dataclass(frozen=True)
class WorkFolder:
    """A folder beside the output with the finished segments of a job, until they are joined.

    `plan.json` holds the settings. Segment NNNNN is finished when its record NNNNN.json exists,
    which is written after the segment itself. Both appear whole or not at all.
    """

    folder: Path
    suffix: str = ""  # of segments; empty where they are folders

    def is_open(self) -> bool:
        """Return whether work was begun here."""
        return (self.folder / SETTINGS).is_file()

    def open(
        self,
        settings: dict[str, Any],
        *,
        instead: str = "give it up with --restart",
        must_exist: bool = False,
        restart: bool = False,
    ) -> None:
        """Begin work, or continue that of an interrupted run with the same settings.

        Args:
            instead: what to do about work with other settings, as an order.
            restart: delete unfinished work first.

        Raises:
            UnfinishedWorkError: work with other settings, or none and `must_exist`.
        """
        if restart:
            self.remove()
        file = self.folder / SETTINGS
        if self.is_open():
            self._require_same(json.loads(file.read_text(encoding="utf-8")), settings, instead)
            return
        if must_exist:
            raise UnfinishedWorkError(
                f"There is nothing to resume: {self.folder} holds no unfinished work."
            )
        if any(not file.name.startswith(".") for file in self.folder.glob("*")):
            raise UnfinishedWorkError(f"{self.folder} holds files of something else; move them.")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(settings, indent=1).encode())

    def _require_same(self, old: dict[str, Any], settings: dict[str, Any], instead: str) -> None:
        new = json.loads(json.dumps(settings))  # tuples become lists, as in the file
        changed = [
            f"{name} ({old.get(name)}, now {new.get(name)})"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
        if changed:
            raise UnfinishedWorkError(
                f"{self.folder} holds unfinished work with other settings: {'; '.join(changed)}. "
                f"Finish it with its own, or {instead}."
            )

    def segment_path(self, number: int, view: str = "") -> Path:
        """Return the path of a finished segment.

        Args:
            view: name of a comparison or explanation beside the video itself.
        """
        return self.folder / f"{number:05d}{view}{self.suffix}"

    def temporary_path(self, number: int, view: str = "") -> Path:
        """Return the path of a segment while this process writes it."""
        return self.folder / f".{number:05d}{view}.{os.getpid()}{self.suffix}"

    def read_record(self, number: int) -> dict[str, Any] | None:
        """Return the record of a finished segment, or None if it is not finished."""
        file = self.folder / f"{number:05d}.json"
        if not file.is_file():
            return None
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return record

    def finish(self, number: int, record: dict[str, Any]) -> None:
        """Rename a complete segment and its views to their final paths, and write its record."""
        for view in record["outputs"]:
            path = self.segment_path(number, view)
            if path.is_dir():  # left by a crash before the record was written
                shutil.rmtree(path)
            self.temporary_path(number, view).replace(path)
        write_atomically(self.folder / f"{number:05d}.json", json.dumps(record).encode())

    def discard(self, number: int) -> None:
        """Delete the temporary files of a segment."""
        for file in self.folder.glob(f".{number:05d}*.{os.getpid()}{self.suffix}"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    def remove(self) -> None:
        """Delete the folder."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)


class SegmentRank(NamedTuple):
    """The rank of this process among those that work on one job, as torchrun counts them.

    Rank r of n makes every n-th segment from the r-th on. Ranks share the work folder and nothing
    else; rank 0 waits for all segments and joins them.
    """

    rank: int = 0
    world_size: int = 1

    def owns(self, number: int) -> bool:
        """Return whether this rank makes a segment."""
        return number % self.world_size == self.rank

    def open(
        self,
        work: WorkFolder,
        settings: dict[str, Any],
        output: Path,
        *,
        must_exist: bool = False,
        restart: bool = False,
    ) -> bool:
        """Open the work folder, after rank 0 has.

        Returns: whether there is work; rank 0 may have found that all of it is done.

        Raises:
            UnfinishedWorkError: as `WorkFolder.open`; or several ranks were told to restart.
        """
        if restart and self.world_size > 1:
            raise UnfinishedWorkError(
                f"--restart is for one process: another might be at work already. "
                f"Delete {work.folder} first."
            )
        start = time.time()
        while self.rank > 0 and not work.is_open():
            if output.exists() and output.stat().st_mtime > start:
                return False
            time.sleep(POLL_SECONDS)
        work.open(settings, must_exist=must_exist and self.rank == 0, restart=restart)
        return True


def read_segment_rank(environment: Mapping[str, str]) -> SegmentRank:
    """Return the rank that torchrun sets in the environment, or the only one."""
    return SegmentRank(int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1)))


def wait_for_segments(work: WorkFolder, numbers: list[int]) -> None:
    """Wait until every segment is finished. If a rank fails, torchrun ends the others."""
    for number in numbers:
        while work.read_record(number) is None:
            time.sleep(POLL_SECONDS)
