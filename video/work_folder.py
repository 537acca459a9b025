"""The folder where finished segments of a job wait until they are joined."""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgm_vfi.storage.atomic_write import remove_folder, remove_trash, rename_durably
from sgm_vfi.storage.file_identity import hash_path
from sgm_vfi.storage.json_with_checksum import (
    DamagedFileError,
    hash_json,
    read_checked_json,
    write_checked_json,
)

SETTINGS = "plan.json"
LENGTH = "length.json"  # of segments, as it was measured
WHOLE = "whole"  # begins the names of files that are being joined

logger = logging.getLogger(__name__)


class UnfinishedWorkError(ValueError):
    """Unfinished work does not fit: the message says what differs and what to do."""


@dataclass(frozen=True)
class WorkFolder:
    """A folder beside the output with the finished segments of a job, until they are joined.

    `plan.json` holds the settings. Segment NNNNN is finished when its record NNNNN.json exists,
    which is written after the segment itself. Both appear whole or not at all. A record holds the
    hashes of the settings and of the files of its segment; both kinds of file hold their own hash.
    What is damaged is named and made again.
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
        remove_trash(self.folder)
        new = json.loads(json.dumps(settings))  # tuples become lists, as in the file
        old = self._read_settings()
        if old is not None:
            self._require_same(old, new, instead)
            return
        if must_exist and not self.has_records():
            raise UnfinishedWorkError(
                f"There is nothing to resume: {self.folder} holds no unfinished work."
            )
        others = [file.name for file in self.folder.glob("*") if not self._is_own(file)]
        if others:
            raise UnfinishedWorkError(
                f"{self.folder} holds files of something else, such as {min(others)}; move them."
            )
        self._remove_records_of_others(hash_json(new))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_checked_json(self.folder / SETTINGS, new)

    def _read_settings(self) -> dict[str, Any] | None:
        """Read the settings; None if there are none. Of damaged ones the user is told."""
        if not self.is_open():
            return None
        try:
            return read_checked_json(self.folder / SETTINGS)
        except DamagedFileError as error:
            logger.warning("%s. It is written again; segments of the same job are kept.", error)
            return None

    def _require_same(self, old: dict[str, Any], new: dict[str, Any], instead: str) -> None:
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

    def has_records(self) -> bool:
        """Return whether any segment is finished."""
        return any(self._find_records())

    def _find_records(self) -> Iterator[Path]:
        return self.folder.glob("[0-9]*.json")

    def _is_own(self, file: Path) -> bool:
        """Return whether a file may have been written by a job, by its name."""
        is_temporary = file.name.startswith((".", WHOLE))
        return is_temporary or file.name in (SETTINGS, LENGTH) or file.name[:5].isdecimal()

    def _remove_records_of_others(self, job: str) -> None:
        """Delete the records that were not made with these settings."""
        for file in self._find_records():
            try:
                is_same = read_checked_json(file).get("job") == job
            except DamagedFileError:
                continue  # is told of, and made again, when its turn comes
            if not is_same:
                logger.warning("%s belongs to a job with other settings: made again.", file)
                file.unlink()

    def segment_path(self, number: int, view: str = "") -> Path:
        """Return the path of a finished segment.

        Args:
            view: name of a comparison or explanation beside the video itself.
        """
        return self.folder / f"{number:05d}{view}{self.suffix}"

    def record_path(self, number: int) -> Path:
        """Return the path of the record of a segment."""
        return self.folder / f"{number:05d}.json"

    def temporary_path(self, number: int, view: str = "") -> Path:
        """Return the path of a segment while this process writes it."""
        return self.folder / f".{number:05d}{view}.{os.getpid()}{self.suffix}"

    def whole_path(self, view: str, suffix: str) -> Path:
        """Return the path of a joined file until it gets its final name."""
        return self.folder / f"{WHOLE}{view}{suffix}"

    def is_finished(self, number: int) -> bool:
        """Return whether a segment has a record; its content is not looked at."""
        return self.record_path(number).is_file()

    def find_numbers(self) -> list[int]:
        """Return the numbers of all segments that have a record."""
        return sorted(int(file.stem) for file in self._find_records())

    def count_frames(self, number: int) -> int:
        """Return the number of frames that the record of a segment states, or 0 without one."""
        try:
            return int(read_checked_json(self.record_path(number))["frames"])
        except (OSError, DamagedFileError):
            return 0

    def read_record(self, number: int) -> dict[str, Any] | None:
        """Return the record of a segment whose files are all as they were finished, or None.

        A damaged record or segment is named and deleted, so that it is made again.
        """
        if not self.is_finished(number):
            return None
        try:
            record = read_checked_json(self.record_path(number))
            if record.get("number") != number:
                raise DamagedFileError(f"{self.record_path(number)} is that of another segment")
            for file, written in record["files"].items():
                require_hash(self.folder / file, written)
        except DamagedFileError as error:
            logger.warning("%s. It is made again.", error)
            self.record_path(number).unlink(missing_ok=True)  # another rank may have
            return None
        return record

    def finish(self, number: int, record: dict[str, Any], others: Sequence[Path] = ()) -> None:
        """Rename a complete segment and its views to their final paths, and write its record.

        Args:
            others: files of the segment outside the work folder, which have their final paths.
        """
        paths = [self.segment_path(number, view) for view in record["outputs"]]
        for view, path in zip(record["outputs"], paths, strict=True):
            if path.is_dir():  # left by a crash before the record was written
                shutil.rmtree(path)
            rename_durably(self.temporary_path(number, view), path)
        files = {path.name: hash_path(path) for path in paths}
        files |= {os.path.relpath(path, self.folder): hash_path(path) for path in others}
        job = hash_json(read_checked_json(self.folder / SETTINGS))
        whole = {**record, "number": number, "job": job, "files": files}
        write_checked_json(self.record_path(number), whole)

    def discard(self, number: int) -> None:
        """Delete the temporary files of a segment."""
        for file in self.folder.glob(f".{number:05d}*.{os.getpid()}{self.suffix}"):
            remove(file)

    def discard_all(self) -> None:
        """Delete the temporary files of all processes; for one that works alone."""
        for pattern in (".*", f"{WHOLE}*"):
            for file in self.folder.glob(pattern):
                remove(file)

    def remove_own(self, settings: dict[str, Any]) -> None:
        """Delete what is left of a finished job, but not the work of one with other settings."""
        remove_trash(self.folder)
        if self.is_open() and self._read_settings() == json.loads(json.dumps(settings)):
            self.remove()

    def remove(self) -> None:
        """Delete the folder."""
        remove_folder(self.folder)


def require_hash(path: Path, written: str) -> None:
    """Raise DamagedFileError if a file or a folder is missing or has another hash."""
    if not path.exists():
        raise DamagedFileError(f"{path} is missing")
    if hash_path(path) != written:
        size = "" if path.is_dir() else f" ({path.stat().st_size} bytes now)"
        raise DamagedFileError(f"{path} is damaged{size}: it is not what its record says")


def remove(path: Path) -> None:
    """Delete a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
