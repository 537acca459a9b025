"""Progress and cancellation of a video job that another program runs."""

import threading
from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], object]  # output frames that are done, and all
Cancel: TypeAlias = threading.Event | Callable[[], bool]


class InterpolationCancelled(RuntimeError):
    """A job that the caller cancelled; the same call continues it."""


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
        """Count an output frame; raise InterpolationCancelled if the caller wants to stop."""
        self.done += 1
        self._report()

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.done, self.total)
        if self.cancel is not None and self.cancel():
            raise InterpolationCancelled(
                f"Cancelled after {self.done} of {self.total} frames. Finished segments are kept; "
                f"the same call continues."
            )
