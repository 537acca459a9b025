"""The cost of a training step: time per section, operations, memory, and the device's limits."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from tqdm import trange

from sgm_vfi.benchmark.profiler import (
    GIB,
    OperationCount,
    count_operations,
    measure_bandwidth,
    measure_convolution_throughput,
    peak_memory,
    reset_peak_memory,
)

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}  # by their names in recipes
SECTIONS = ("waiting for data", "forward", "loss", "backward", "optimiser")
WARM_UP = 2  # steps that do not count
LEGEND = """\
Sections are timed by torch.profiler in as many steps again; the device finishes each of them.
floor: what the arithmetic takes at the throughput of a convolution, and the traffic of
convolutions, products and attention at the bandwidth of a copy, both measured in the same run.
GiB: beyond what was in use before the first step."""


class StepSections:
    """Names the sections of a training step for torch.profiler: `with section("forward"): ...`.

    While `synchronize` is set, a section ends when the device has finished its work.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.synchronize = device, False

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Record the context as a section."""
        with record_function(name):
            yield
            if self.synchronize and self.device.type == "cuda":
                torch.cuda.synchronize(self.device)


class StepProfile(NamedTuple):
    """Measurements of training steps of one process."""

    seconds: list[float]  # of each step
    sections: dict[str, float]  # mean seconds in a step
    work: OperationCount
    gib: float
    gflop_s: float  # of a 3 x 3 convolution in the run's precision
    gbyte_s: float  # of a copy, read and written

    @property
    def floor(self) -> float:
        """Lower bound on the seconds of a step, from arithmetic and memory traffic."""
        return self.work.floor(self.gflop_s, self.gbyte_s)


def profile_training_step(
    step: Callable[[], None], steps: int, section: StepSections, precision: str = "float32"
) -> StepProfile:
    """Time training steps, then time their sections in further steps.

    Args:
        section: what `step` calls for each of its sections.
        precision: of the convolutions, as recipes name it.
    """
    if steps < 1:
        raise ValueError(f"--measure takes 1 step or more, got {steps}.")
    where = section.device
    before = reset_peak_memory(where)
    for _ in trange(WARM_UP, unit="step", desc="warm-up", disable=None, leave=False):
        step()
    seconds = list(_each(step, steps, where))
    gib = (peak_memory(where) - before) / GIB
    with torch.compiler.set_stance("force_eager"):  # operations in compiled code do not count
        work = count_operations(step)
    section.synchronize = True
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        total = sum(_each(step, steps, where))
    section.synchronize = False
    spans = [event for event in profiler.key_averages() if event.key in SECTIONS]
    sections = dict.fromkeys(SECTIONS, 0.0)
    sections |= {span.key: span.cpu_time_total / 1e6 / steps for span in spans}
    sections["other"] = total / steps - sum(sections.values())
    throughput, copy = (
        measure_convolution_throughput(where, PRECISIONS[precision]),
        measure_bandwidth(where),
    )
    return StepProfile(seconds, sections, work, gib, throughput, copy)


def format_step_profile(cost: StepProfile, samples: int) -> Iterator[str]:
    """Format a profile as Markdown tables.

    Args:
        samples: of a step, over all processes.
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
    yield "\n| section | ms | share |\n|---|---|---|"
    total = sum(cost.sections.values())
    for name, seconds in cost.sections.items():
        yield f"| {name} | {1e3 * seconds:.1f} | {seconds / total:.1%} |"
    yield "\n" + LEGEND


def _each(step: Callable[[], None], steps: int, where: torch.device) -> Iterator[float]:
    """Yield the seconds of each step; the last ends when the device has finished."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    for number in trange(1, steps + 1, unit="step", disable=None, leave=False):
        start = perf_counter()
        step()
        if where.type == "cuda" and number == steps:
            torch.cuda.synchronize(where)
        yield perf_counter() - start
