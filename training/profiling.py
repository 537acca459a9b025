"""What a step of training costs: time by part, work and memory, beside what the machine allows."""

import statistics
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple

import torch
from tqdm import trange

from sgm_vfi.benchmark.operation_count import OperationCount, count_operations
from sgm_vfi.benchmark.timing import (
    GIB,
    measure_bandwidth,
    measure_convolution_throughput,
    peak,
    reset_peak_memory,
)
from sgm_vfi.engine.step_timer import Stopwatch

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}  # by their names in recipes
# Methods of a trainer, and what of a step they are.
PARTS = (
    ("_next_batches", "waiting for data"),
    ("prepare_batch", "other"),
    ("forward_batch", "forward"),
)
PARTS += (("loss", "loss"), ("_backward_batch", "backward"))
WARM_UP = 2  # steps that do not count
LEGEND = """\
Parts are timed one after the other, in as many steps again, with nothing overlapping.
floor: what the arithmetic takes at the throughput of a convolution, and the traffic of
convolutions, products and attention at the bandwidth of a copy, both measured in the same run.
GiB: beyond what was in use before the first step."""


Part = tuple[Any, str, str]  # the calls of a method are timed: owner, its method, name


class StepProfile(NamedTuple):
    """What a step of one process took."""

    seconds: list[float]  # of each step, undisturbed
    parts: dict[str, float]  # seconds of a step, on average, with nothing overlapping
    work: OperationCount
    gib: float
    gflop_s: float  # of a 3 x 3 convolution in the run's precision
    gbyte_s: float  # of a copy, read and written

    @property
    def floor(self) -> float:
        """Seconds that arithmetic and memory traffic take at least."""
        return self.work.floor(self.gflop_s, self.gbyte_s)


def profile_training_step(
    step: Callable[[], None],
    steps: int,
    parts: list[Part],
    where: torch.device,
    precision: str = "float32",
) -> StepProfile:
    """Take steps of training, undisturbed at first, then part by part.

    Args:
        parts: what `step` calls, to be told apart; the time of none of them is "other".
        precision: of the convolutions, as recipes name it.
    """
    if steps < 1:
        raise ValueError(f"Something to measure is 1 step or more, got {steps}.")
    before = reset_peak_memory(where)
    for _ in trange(WARM_UP, unit="step", desc="warm-up", disable=None, leave=False):
        step()
    seconds = list(_each(step, steps, where))
    gib = (peak(where) - before) / GIB
    with torch.compiler.set_stance("force_eager"):  # what a compiler made cannot be looked into
        work = count_operations(step)
    watch = Stopwatch(where)
    for part in parts:
        watch.watch(*part)
    alone = sum(_each(step, steps, where)) / steps
    split = {name: 0.0 for _, _, name in parts}
    split |= {name: total / steps for name, total in watch.seconds.items()}
    split["other"] = alone - sum(split.values())
    throughput, copy = (
        measure_convolution_throughput(where, PRECISIONS[precision]),
        measure_bandwidth(where),
    )
    return StepProfile(seconds, split, work, gib, throughput, copy)


def format_step_profile(cost: StepProfile, samples: int) -> Iterator[str]:
    """Markdown.

    Args:
        samples: of a step, of all processes together.
    """
    median, mean = statistics.median(cost.seconds), statistics.fmean(cost.seconds)
    low, high = min(cost.seconds), max(cost.seconds)
    yield "| samples/s | seconds a step | GFLOP | GB | floor | share | GiB |"
    yield "|---|---|---|---|---|---|---|"
    yield (
        f"| {samples / mean:.3g} | {median:.3g} ({low:.3g} to {high:.3g}) | "
        f"{cost.work.gflop:.0f} | {cost.work.gbyte:.1f} | {cost.floor:.3g} | "
        f"{cost.floor / median:.0%} | {cost.gib:.2f} |"
    )
    yield f"\nA convolution: {cost.gflop_s:.0f} GFLOP/s; a copy: {cost.gbyte_s:.1f} GB/s."
    yield "\n| part | ms | share |\n|---|---|---|"
    total = sum(cost.parts.values())
    for name, seconds in cost.parts.items():
        yield f"| {name} | {1e3 * seconds:.1f} | {seconds / total:.1%} |"
    yield "\n" + LEGEND


def _each(step: Callable[[], None], steps: int, where: torch.device) -> Iterator[float]:
    """Seconds of each step; the last one's end when the device has done them all."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    for number in trange(1, steps + 1, unit="step", disable=None, leave=False):
        start = perf_counter()
        step()
        if where.type == "cuda" and number == steps:
            torch.cuda.synchronize(where)
        yield perf_counter() - start
