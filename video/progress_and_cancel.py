"""Progress and cancellation of a video job that another program runs."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], object]  # output frames that are done, and all
Cancel: TypeAlias = threading.Event | Callable[[], bool]


class InterpolationCancelled(RuntimeError):
    """A job that the caller cancelled; the same call continues it.

    Args:
        kept: how many frames are kept, as text.
    """

    def __init__(self, message: str, kept: str = "") -> None:
        super().__init__(message)
        self.kept = kept


class JobMonitor:
    """Reports the progress of a job, and stops it when the caller asks for it.

    Both callbacks are called in the thread that called `interpolate_file`.
    """

    def __init__(self, progress: Progress | None = None, cancel: Cancel | None = None) -> None:
        self.progress = progress
        self.cancel = cancel.is_set if isinstance(cancel, threading.Event) else cancel
        self.done = self.total = 0

    def start(self, done: int, total: int) -> None:
        """Report how many output frames an earlier call has left, of how many."""
        self.done, self.total = done, total
        self._report()

    def advance(self) -> None:
        """Count and report an output frame."""
        self.done += 1
        self._report()

    def is_cancelled(self) -> bool:
        """Return whether the caller wants to stop."""
        return self.cancel is not None and self.cancel()

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.done, self.total)

    def build_error(self, num_kept: int, folder: Path) -> InterpolationCancelled:
        """Return the error of a cancelled job, which says what is kept."""
        kept = f"{num_kept} of {self.total} frames are kept in {folder}"
        return InterpolationCancelled(
            f"Cancelled after {self.done} of {self.total} frames. {kept}; the same call continues.",
            kept,
        )
