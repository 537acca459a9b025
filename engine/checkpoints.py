"""Checkpoints of a run on disk, written atomically; a damaged one falls back to the previous."""

import logging
import pickle
import textwrap
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sgm_vfi.storage.atomic_write import replace_atomically, sync
from sgm_vfi.zip_checks import require_sound_archive

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

    Args:
        parts: what a checkpoint holds at least; one without them counts as damaged.
    """

    def __init__(self, folder: Path, *, active: bool = True, parts: Sequence[str] = ()) -> None:
        self.folder = folder
        self.active = active
        self.parts = parts
        self.last_is_damaged = False

    def save_last(self, state: dict[str, Any]) -> bool:
        """Write last.pth and keep the one before as previous.pth; return whether it succeeded.

        A damaged one is not kept: previous.pth stays as it is.
        """
        is_saved = self._save(LAST, state, keep_as=None if self.last_is_damaged else PREVIOUS)
        self.last_is_damaged &= not is_saved
        return is_saved

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
                state = self._read(path)
            except UNREADABLE as error:
                damaged.append(f"{path} ({path.stat().st_size} bytes: {_short(error)})")
                continue
            if damaged:
                self.last_is_damaged = True
                logger.warning("%s cannot be resumed; resuming from %s", damaged[0], path)
            return state
        if damaged:
            raise UnreadableCheckpointError(
                f"No checkpoint of {self.folder} can be read: {'; '.join(damaged)}. "
                f"Restart with --overwrite, or start from {BEST} if there is one."
            )
        return None

    @contextmanager
    def explain_mismatch(self) -> Iterator[None]:
        """Turn errors in restoring the state of a checkpoint into one that says what to do."""
        try:
            yield
        except (LookupError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"The checkpoint in {self.folder} does not fit this run: {_short(error)}. Resume "
                f"with the recipe and the version that wrote it, or begin again with --overwrite."
            ) from error

    def _read(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint after verifying its checksums, which PyTorch does not."""
        require_sound_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        absent = [part for part in self.parts if not isinstance(state, dict) or part not in state]
        if absent:
            raise ValueError(f"it holds no {absent[-1]!r}, so it is no checkpoint of a run")
        return dict(state)

    def _save(self, name: str, state: dict[str, Any], keep_as: str | None = None) -> bool:
        if not self.active:
            return False
        path = self.folder / name
        try:
            with replace_atomically(path) as temporary:
                torch.save(state, temporary)
                if keep_as is not None and path.exists():
                    sync(temporary)  # before the one that it follows loses its name
                    path.replace(self.folder / keep_as)
        except (OSError, RuntimeError) as error:
            logger.warning(
                "Could not write %s (%s). Is the disk full? Checkpoints that were there are "
                "untouched.",
                path,
                _short(error),
            )
            return False
        return True


def _short(error: Exception) -> str:
    return textwrap.shorten(str(error), 120, placeholder=" ...")
