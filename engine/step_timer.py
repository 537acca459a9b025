"""Where the time of a step goes."""

import time
from collections import defaultdict
from typing import Any

import torch


class Stopwatch:
    """Seconds by part; what a part calls that is another part counts for that one alone.

    Waits for the device where one part gives way to another, which keeps them from overlapping:
    shares are meant, not the speed of the whole.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._parts: list[str] = []
        self._since = 0.0

    def watch(self, owner: Any, method: str, part: str) -> None:
        """From now on count the calls of `owner.method` for a part."""
        inner = getattr(owner, method)

        def watched(*arguments: Any, **options: Any) -> Any:
            self._note()
            self._parts.append(part)
            try:
                return inner(*arguments, **options)
            finally:
                self._note()
                self._parts.pop()

        setattr(owner, method, watched)

    def _note(self) -> None:
        """Count the time since the last note for the innermost part."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        if self._parts:
            self.seconds[self._parts[-1]] += now - self._since
        self._since = now
