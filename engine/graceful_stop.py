"""Graceful stop on SIGTERM and SIGINT."""

import logging
import signal
import sys
from types import FrameType, TracebackType
from typing import Any, NoReturn

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Records SIGTERM and SIGINT (Ctrl-C) while it is open, so that a loop can end between steps.

    A second SIGINT raises KeyboardInterrupt at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        self._previous_handlers = {
            number: signal.signal(number, self._handle) for number in STOP_SIGNALS
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    @property
    def is_requested(self) -> bool:
        """Whether a signal arrived."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """Exit code of a process that a signal ended: 128 plus its number; 1 without a signal."""
        return 1 if self.signal is None else 128 + self.signal

    def exit_run(self, step: int, problem: Exception | None) -> NoReturn:
        """Exit the process after a saved step.

        Raises:
            RuntimeError: loading the data of the next step failed.
        """
        if problem is not None:
            raise RuntimeError(
                f"No data for step {step + 1}: {problem} All steps before are saved: fix the "
                f"problem and continue with --resume."
            ) from problem
        logger.warning("Stopped after step %d; continue with --resume.", step)
        sys.exit(self.exit_code)
