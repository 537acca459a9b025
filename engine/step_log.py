"""What happened in each step, kept on the device until somebody wants to know."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sgm_vfi.engine.distributed import World
from sgm_vfi.engine.runlog import RunLog

logger = logging.getLogger(__name__)


class Throughput:
    """Samples per second, and the share of the time that was spent waiting for data."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Measure from now on; what came before (validation, say) does not count."""
        self._start = time.perf_counter()
        self._waited = 0.0
        self._samples = 0

    @contextmanager
    def measure_wait(self) -> Iterator[None]:
        """Count the time inside as waiting."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def add_samples(self, samples: int) -> None:
        """Note samples, of all processes, that were learnt from."""
        self._samples += samples

    def read_and_reset(self) -> dict[str, float]:
        """Give the figures since the last lap, and begin the next one."""
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        figures = {
            "samples_per_second": self._samples / elapsed,
            "waiting_for_data": self._waited / elapsed,
        }
        self.reset()
        return figures


class StepLog:
    """Losses and gradient norms of the last few steps; reading them waits for the device once.

    Args:
        max_skipped: steps in a row whose gradient may be not finite.
    """

    def __init__(self, world: World, log: RunLog, max_skipped: int) -> None:
        self.world, self.log, self.max_skipped = world, log, max_skipped
        self.throughput = Throughput()
        self._known: list[dict[str, Any]] = []
        self._measured: list[Tensor] = []
        self._skipped = 0  # in a row

    def add(self, loss: Tensor, norm: Tensor, **known: float) -> None:
        """Note a step: this process's loss, the common gradient norm, and what is known already."""
        self._known.append(known)
        self._measured.append(torch.stack((loss.detach().float(), norm.detach().float())))

    def flush(self) -> None:
        """Log the steps since the last report, with losses averaged over the processes.

        A step whose gradient was not finite moved no weight: it is marked as skipped, and said.

        Raises:
            FloatingPointError: too many steps in a row were skipped.
        """
        if not self._known:
            return
        measured = self.world.all_reduce_sum(torch.stack(self._measured)) / self.world.size
        rows = []
        for known, (loss, norm) in zip(self._known, measured.tolist(), strict=True):
            row = {**known, "loss": loss, "gradient_norm": norm}
            rows.append(row if math.isfinite(norm) else row | {"skipped": True})
        self._known, self._measured = [], []
        self.log.log_steps(rows, self.throughput.read_and_reset())
        for row in rows:
            self._judge(row)

    def _judge(self, row: dict[str, Any]) -> None:
        if "skipped" not in row:
            self._skipped = 0
            return
        self._skipped += 1
        logger.warning("Step %d skipped: its gradient is not finite (%s).", row["step"], row)
        if self._skipped >= self.max_skipped:
            raise FloatingPointError(
                f"{self._skipped} steps in a row had no finite gradient; the weights are as they "
                f"were before them. Look at the data, or lower the learning rate."
            )


class MetricMeans:
    """Means over the samples of all processes, whose shares need not be of one size."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._sums = torch.zeros(1 + len(names), dtype=torch.float64)

    def add(self, scores: Tensor) -> None:
        """Take in samples. Shapes: scores (B, len(names))."""
        self._sums[0] += len(scores)
        self._sums[1:] += scores.double().sum(dim=0).cpu()

    def compute(self, world: World) -> dict[str, float]:
        """By name."""
        count, *sums = world.all_reduce_sum(self._sums).tolist()
        return {name: value / count for name, value in zip(self.names, sums, strict=True)}
