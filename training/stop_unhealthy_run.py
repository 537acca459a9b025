"""Checks a training run while it runs, by its log, so that a run that goes wrong stops early.

After a minute the loss must have fallen, samples must pass as fast as was measured before, and data
must not be waited for. Otherwise the process ends with a reason, even if the training loop hangs.
"""

import logging
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from sgm_vfi.command_errors import REFUSED
from sgm_vfi.engine.runlog import FILE, read_rows

logger = logging.getLogger(__name__)

FIRST_CHECK, LAST_CHECK = 60.0, 77.0  # seconds after the start; between them, more steps may come
GRACE = 10.0  # seconds that the training loop has to stop by itself
POLL = 1.0
FEW = 4  # steps in either half of the losses
ENOUGH = 0.4  # share of the planned steps that must have been taken


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a healthy run shows in its first minute."""

    samples_per_second: float  # measured before the run
    min_speed: float = 0.5  # least share of it
    max_waiting: float = 0.4  # largest share of the time that may be spent waiting for data
    max_loss_ratio: float = 1.0  # largest loss of the second half of the steps over the first half
    min_steps: int = 16

    def after(self, seconds: float, samples_per_second: float, batch_size: int) -> "Expectation":
        """Return what is expected after some seconds of training at a measured speed."""
        steps = max(round(ENOUGH * seconds * samples_per_second / batch_size), 1)
        fewest = min(self.min_steps, steps)
        return replace(self, samples_per_second=samples_per_second, min_steps=fewest)


def find_problem(rows: Sequence[Mapping[str, Any]], expected: Expectation) -> str | None:
    """Return why a run is not as expected, in one sentence; None if it is.

    Args:
        rows: of its log.jsonl; losses that are not finite are None.
    """
    losses = [row["loss"] for row in rows if "loss" in row]
    if len(losses) < expected.min_steps:
        return f"it took {len(losses)} steps, expected {expected.min_steps} or more."
    unusable = sum(loss is None for loss in losses)
    if unusable:
        return f"{unusable} of {len(losses)} steps have no finite loss. Lower the learning rate."
    half = len(losses) // 2
    if half < FEW:  # too few to compare
        return _find_slowness(rows, expected)
    first, second = (statistics.median(part) for part in (losses[:half], losses[half:]))
    if second > expected.max_loss_ratio * first:
        return (
            f"the loss does not fall: {first:.4g} in the first {half} steps, {second:.4g} after "
            f"them. Lower the learning rate, or look at the data."
        )
    return _find_slowness(rows, expected)


def _find_slowness(rows: Sequence[Mapping[str, Any]], expected: Expectation) -> str | None:
    """Return why training is slow. The first row, of slow first steps, does not count."""
    rows = [row for row in rows if "samples_per_second" in row][1:]
    if not rows:
        return None
    speed = statistics.median(row["samples_per_second"] for row in rows)
    waiting = statistics.fmean(row["waiting_for_data"] for row in rows)
    if waiting > expected.max_waiting:
        return (
            f"{waiting:.0%} of the time is spent waiting for data, expected "
            f"{expected.max_waiting:.0%} or less. Use smaller "
            f"scenes, or faster storage."
        )
    if speed < expected.min_speed * expected.samples_per_second:
        return (
            f"{speed:.3g} samples/s, measured before: {expected.samples_per_second:.3g}. Is "
            f"another program using the device?"
        )
    return None


class ProgressWatch:
    """Checks a run from a thread until the context ends; ends the process if it goes wrong.

    The training loop gets a SIGTERM first, which saves and stops it; `problem` then has the reason.
    A loop that does not stop is ended at once.

    Args:
        folder: of the run.
        on_success: called when the check has passed.
        first, last: seconds after the start of the first check, and of the one that decides.
    """

    def __init__(
        self,
        folder: Path,
        expected: Expectation,
        on_success: Callable[[], None] = lambda: None,
        *,
        first: float = FIRST_CHECK,
        last: float = LAST_CHECK,
    ) -> None:
        self.folder, self.expected, self.on_success = folder, expected, on_success
        self.first, self.last = first, last
        self.problem: str | None = None
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin: training starts now."""
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> "ProgressWatch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()

    def _watch(self) -> None:
        start = time.monotonic()
        wait = self.first
        while not self._closed.wait(wait):
            wait = POLL
            rows = read_rows(self.folder) if (self.folder / FILE).is_file() else []
            problem = find_problem(rows, self.expected)
            if problem is None:
                logger.info("Self-check passed: loss, speed and data are as expected.")
                self.on_success()
                return
            if time.monotonic() - start >= self.last:
                self._stop_process(problem)
                return

    def _stop_process(self, problem: str) -> None:
        self.problem = problem
        logger.error("Self-check failed: %s", problem)
        os.kill(os.getpid(), signal.SIGTERM)
        if not self._closed.wait(GRACE):
            os._exit(REFUSED)
