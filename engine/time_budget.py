"""Runs that have so many minutes rather than so many steps."""

import time
from collections.abc import Callable, Mapping

from sgm_vfi.engine.distributed import World


class TimeBudget:
    """Says how many steps a run comes to at its pace so far; the same in all processes.

    Schedules that fall over the steps of a run then fall over its time: whatever the pace, they
    are at their end when the time is up. Time that a run spent before it was resumed counts.

    Args:
        minutes: of the whole run; None: it has a number of steps instead.
        now: a clock in seconds that only goes forward.
    """

    def __init__(
        self, minutes: float | None, world: World, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.minutes, self.world, self.now = minutes, world, now
        self.start = now()

    def total_steps(self, done: int, planned: int) -> int:
        """Steps of the whole run, of which some are done; asked by all processes together."""
        if self.minutes is None or not done:
            return planned
        passed = self.world.broadcast(self.elapsed()) / (60 * self.minutes)
        return max(done, round(done / passed))

    def elapsed(self) -> float:
        """Seconds so far."""
        return self.now() - self.start

    def state_dict(self) -> Mapping[str, float]:
        """What a checkpoint keeps."""
        return {"elapsed": self.elapsed()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on counting from a checkpoint."""
        self.start = self.now() - state["elapsed"]
