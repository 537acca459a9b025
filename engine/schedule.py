"""Learning-rate schedules, and runs limited by time instead of steps."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from sgm_vfi.engine.distributed import World


class LearningRateSettings(Protocol):
    """The fields of a recipe that define the learning rate."""

    @property
    def schedule(self) -> Literal["warmup_cosine", "one_cycle"]:
        """The shape of the schedule."""

    @property
    def learning_rate(self) -> float:
        """The highest rate."""

    @property
    def final_learning_rate(self) -> float:
        """The last rate of `warmup_cosine`."""

    @property
    def warmup_steps(self) -> int:
        """The steps in which the rate of `warmup_cosine` rises."""


def learning_rate_at(recipe: LearningRateSettings, step: int, total_steps: int) -> float:
    """Return the learning rate of a step."""
    if recipe.schedule == "one_cycle":
        return one_cycle(step, total_steps, recipe.learning_rate)
    ends = recipe.learning_rate, recipe.final_learning_rate
    return warmup_cosine(step, total_steps, recipe.warmup_steps, *ends)


def warmup_cosine(
    step: int, total_steps: int, warmup_steps: int, peak: float = 2e-4, floor: float = 2e-5
) -> float:
    """Rise linearly from zero to `peak`, then fall along half a cosine to `floor`."""
    if step < warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return floor + (peak - floor) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def one_cycle(step: int, total_steps: int, peak: float, rising: float = 0.3) -> float:
    """Rise from `peak` / 25 to `peak`, then fall to a ten-thousandth of the start, along cosines.

    PyTorch's OneCycleLR with its defaults, but for the momentum, which stays.

    Args:
        rising: fraction of the steps in which the rate rises.
    """
    start, end = peak / 25, peak / 25e4
    top = rising * total_steps - 1
    last = max(total_steps - 1, 1)
    low, height = (start, step / top) if step <= top else (end, (last - step) / (last - top))
    return low + (peak - low) * (1 - math.cos(math.pi * max(height, 0))) / 2


class TimeBudget:
    """Converts a limit in minutes into a number of steps, the same in all processes.

    Schedules over the steps of a run then span its time. Time before a resume counts.

    Args:
        minutes: of the whole run; None: the planned number of steps holds.
        now: a monotonic clock in seconds.
    """

    def __init__(
        self, minutes: float | None, world: World, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.minutes, self.world, self.now = minutes, world, now
        self.start = now()

    def total_steps(self, done: int, planned: int) -> int:
        """Return the steps of the whole run; all processes call it together."""
        if self.minutes is None or not done:
            return planned
        passed = self.world.broadcast(self.elapsed()) / (60 * self.minutes)
        return max(done, round(done / passed))

    def elapsed(self) -> float:
        """Return the seconds so far."""
        return self.now() - self.start

    def state_dict(self) -> Mapping[str, float]:
        """Return the state for a checkpoint."""
        return {"elapsed": self.elapsed()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from the state of a checkpoint."""
        self.start = self.now() - state["elapsed"]
