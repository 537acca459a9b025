"""Chooses batch size and reuse of scenes by measuring a few training steps on this machine."""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from sgm_vfi.command_errors import is_out_of_memory
from sgm_vfi.config_base import Experiment
from sgm_vfi.engine.distributed import World
from sgm_vfi.engine.training_command_line import RunContext

STEPS = 3  # timed, after one that is not
LONG = 12.0  # seconds: after a trial as long, larger batches are not tried
EQUAL = 1.05  # a larger batch must be this much faster
WAITING = 0.2  # share of the time that loading may take
MOST_REUSE = 4


class BatchCost(NamedTuple):
    """Measured seconds of a batch."""

    size: int
    loading: float
    training: float

    @property
    def reuse(self) -> int:
        """How often scenes have to be used so that loading takes little of the time."""
        wanted = self.loading / self.training * (1 - WAITING) / WAITING
        return min(max(math.ceil(wanted), 1), MOST_REUSE)

    @property
    def samples_per_second(self) -> float:
        """Throughput with reuse."""
        return self.size / (self.loading / self.reuse + self.training)


def measure_batch_sizes(
    trainer: Callable[[Experiment, RunContext], Any],
    experiment: Experiment,
    sizes: Sequence[int],
    device: torch.device,
) -> dict[int, BatchCost]:
    """Measure increasing batch sizes, as far as they fit the memory.

    Raises:
        MemoryError: the smallest does not fit.
    """
    costs: dict[int, BatchCost] = {}
    for size in sizes:
        start = time.monotonic()
        try:
            costs[size] = measure_batch(trainer, experiment, size, device)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if not costs:
                raise MemoryError(
                    f"A batch of {size} does not fit the memory of {device}. Take smaller "
                    f"scenes: --set data.patch_size=128."
                ) from error
            break
        finally:
            if device.type == "cuda":
                torch.cuda.empty_cache()
        if time.monotonic() - start > LONG:
            break
    return costs


def choose_batch_size(costs: Mapping[int, BatchCost], seconds: float, min_steps: int) -> int:
    """Return the fastest batch size that leaves enough steps; of equally fast ones the smallest.

    Args:
        min_steps: that a run of so many seconds takes at least. If none does, the smallest wins.
    """
    speeds = {size: cost.samples_per_second for size, cost in costs.items()}
    enough = [size for size, speed in speeds.items() if seconds * speed >= min_steps * size]
    if not enough:
        return min(speeds)
    fastest = max(speeds[size] for size in enough)
    return min(size for size in enough if EQUAL * speeds[size] >= fastest)


def measure_batch(
    trainer: Callable[[Experiment, RunContext], Any],
    experiment: Experiment,
    size: int,
    device: torch.device,
) -> BatchCost:
    """Measure loading and training of a batch, on fresh weights in a temporary folder."""
    training = replace(experiment.training, batch_size=size)
    data = replace(experiment.data, train_scenes=max(experiment.data.train_scenes, size))
    spans: dict[str, list[float]] = {"loading": [], "training": []}
    with TemporaryDirectory() as folder:
        run = RunContext(Path(folder), World(), device, is_profiling=True)
        loop = trainer(replace(experiment, training=training, data=data), run)
        loop.loader.set_epoch(data.scenes.growing)  # the scenes of most of the run
        batches = itertools.chain.from_iterable(itertools.repeat(loop.loader))
        for _ in range(1 + STEPS):
            times = [_finish(device)]
            batch = next(batches).to(device)
            times.append(_finish(device))
            loop.train_step(loop.prepare_batch(batch))
            times.append(_finish(device))
            for span, (begin, end) in zip(spans.values(), itertools.pairwise(times), strict=True):
                span.append(end - begin)
        loop.log.close()
    loading, steps = (sum(span[1:]) / STEPS for span in spans.values())
    return BatchCost(size, loading, steps)


def _finish(device: torch.device) -> float:
    """Wait for the device and return the time."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
