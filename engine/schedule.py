"""The learning rate over a run."""

import math


def warmup_cosine(
    step: int, total_steps: int, warmup_steps: int, peak: float = 2e-4, floor: float = 2e-5
) -> float:
    """Rise linearly from zero to `peak`, then fall along half a cosine to `floor`."""
    if step < warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return floor + (peak - floor) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
