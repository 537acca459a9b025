"""Checkpoints of a run on disk, written atomically; a damaged one falls back to the previous."""

import logging
import os
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from sgm_vfi.archives import require_sound_archive

logger = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.pth", "previous.pth", "best.pth"
UNREADABLE = (
    *(RuntimeError, EOFError, OSError, ValueError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)


class UnreadableCheckpointError(OSError):
    """All checkpoints of a run are damaged."""


class CheckpointStore:
    """The checkpoints of one run, in one folder: last.pth, previous.pth and best.pth.

    Checkpoints hold tensors and plain values only, so reading them never runs code. A failed write,
    as on a full disk, is logged and keeps the earlier checkpoints. Nothing happens unless `active`.
    """

    def __init__(self, folder: Path, *, active: bool = True) -> None:
        self.folder = folder
        self.active = active

    def save_last(self, state: dict[str, Any]) -> bool:
        """Write last.pth and keep the one before as previous.pth; return whether it succeeded."""
        return self._save(LAST, state, keep_as=PREVIOUS)

    def save_best(self, state: dict[str, Any]) -> bool:
        """Write best.pth; return whether it succeeded."""
        return self._save(BEST, state)

    def exists(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return any((self.folder / name).exists() for name in (LAST, PREVIOUS))

    def load(self) -> dict[str, Any] | None:
        """Read the last checkpoint, or the previous one if it is damaged; None if there is none.

        Raises:
            UnreadableCheckpointError: all checkpoints are damaged.
        """
        damaged: list[str] = []
        if not self.active:
            return None
        for name in (LAST, PREVIOUS):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                state = _read(path)
            except UNREADABLE as error:
                damaged.append(f"{path} ({path.stat().st_size} bytes: {_short(error)})")
                continue
            if damaged:
                logger.warning("%s is damaged; resuming from %s", damaged[0], path)
            return state
        if damaged:
            raise UnreadableCheckpointError(
                f"No checkpoint of {self.folder} can be read: {'; '.join(damaged)}. "
                f"Restart with --overwrite, or start from {BEST} if there is one."
            )
        return None

    def _save(self, name: str, state: dict[str, Any], keep_as: str | None = None) -> bool:
        if not self.active:
            return False
        path = self.folder / name
        temporary = self.folder / f".{name}.{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())  # on the disk before it takes the place of another
            if keep_as is not None and path.exists():
                path.replace(self.folder / keep_as)
            temporary.replace(path)
        except (OSError, RuntimeError) as error:
            logger.warning(
                "Could not write %s (%s). Is the disk full? Checkpoints that were there are "
                "untouched.",
                path,
                _short(error),
            )
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True


def _read(path: Path) -> dict[str, Any]:
    """Read a checkpoint after verifying its checksums, which PyTorch does not."""
    require_sound_archive(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
