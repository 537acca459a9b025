"""The learning rate over a run."""

import math
from typing import Literal, Protocol


class LearningRateSettings(Protocol):
    """What of a recipe says how the rate goes."""

    schedule: Literal["warmup_cosine", "one_cycle"]
    learning_rate: float
    final_learning_rate: float
    warmup_steps: int


def learning_rate_at(recipe: LearningRateSettings, step: int, total_steps: int) -> float:
    """The rate of a step."""
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
        rising: share of the steps in which the rate rises.
    """
    start, end = peak / 25, peak / 25e4
    top = rising * total_steps - 1
    last = max(total_steps - 1, 1)
    low, height = (start, step / top) if step <= top else (end, (last - step) / (last - top))
    return low + (peak - low) * (1 - math.cos(math.pi * max(height, 0))) / 2
