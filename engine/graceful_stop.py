"""Being asked to stop."""

import logging
import signal
import sys
from types import FrameType, TracebackType
from typing import NoReturn

logger = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Notes SIGTERM and SIGINT (Ctrl-C) while it is open, so that a loop can end between steps.

    A second SIGINT interrupts at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    @property
    def is_requested(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended; 1 without a signal."""
        return 1 if self.signal is None else 128 + self.signal

    def exit_run(self, step: int, problem: Exception | None) -> NoReturn:
        """End a run that has been saved after a step: asked to, or for want of data.

        Raises:
            RuntimeError: the next step has no data, which is the problem.
        """
        if problem is not None:
            raise RuntimeError(
                f"No data for step {step + 1}: {problem} All before is saved; once this "
                f"is put right, --resume goes on."
            ) from problem
        logger.warning("Asked to stop after step %d: --resume goes on from here.", step)
        sys.exit(self.exit_code)
