"""Estimates from the first new frame of a job: how long it takes, and what is explained."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, groupby, islice
from time import perf_counter
from typing import NamedTuple

import torch

from sgm_vfi.video.frame_schedule import OutputFrame
from sgm_vfi.video.job_plan import VideoPlan
from sgm_vfi.video.memory_fallback import MemoryAwareInterpolator
from sgm_vfi.video.pipeline import decode_rgb, find_needed_frames
from sgm_vfi.video.produce_output_frames import FrameProducer, FrameWindow, ProducedFrame
from sgm_vfi.video.progress_bar import format_duration
from sgm_vfi.video.segments_and_ranks import Segment

MAX_SECONDS = 3.0  # of a gap that is filled a second time


class FirstGaps(NamedTuple):
    """The first gaps between source frames, and the means to fill them as the job does."""

    producer: FrameProducer
    frames: FrameWindow
    gaps: list[list[OutputFrame]]  # the new frames of each gap

    def fill(self, gap: int) -> ProducedFrame:
        """Make all new frames of a gap, wait for the device, and return the last frame."""
        for output_frame in self.gaps[gap]:
            produced = self.producer.produce(output_frame, self.frames)
        produced.frame.sum().item()
        return produced

    def measure_seconds(self, gap: int) -> float:
        """Measure the seconds to fill a gap whose source frames are already decoded."""
        first = self.gaps[gap][0]
        self.frames.get_pair(first)
        self.frames.get_context(first)
        start = perf_counter()
        self.fill(gap)
        return perf_counter() - start


@contextmanager
def open_first_gaps(
    plan: VideoPlan, interpolator: MemoryAwareInterpolator, device: torch.device, num_gaps: int
) -> Iterator[FirstGaps]:
    """Decode the first gaps of a plan; on exit, reset the state of the interpolator."""
    every = plan.output_frames(uses_context_frames=interpolator.uses_context_frames)
    new = filter(plan.is_new, every)
    grouped = groupby(new, lambda output_frame: (output_frame.left, output_frame.right))
    gaps = [list(gap) for _, gap in islice(grouped, num_gaps)]
    producer = FrameProducer(interpolator, plan.producer_options)
    indices = find_needed_frames(
        [Segment(0, tuple(chain(*gaps)))], plan.producer_options.num_history
    )
    stream = decode_rgb(plan.source, indices, device)
    try:
        with torch.inference_mode():
            yield FirstGaps(producer, FrameWindow(stream, producer.observe), gaps)
            producer.take_stats()
    finally:
        stream.close()


def estimate_seconds_per_frame(
    plan: VideoPlan, interpolator: MemoryAwareInterpolator, device: torch.device
) -> float:
    """Return the time per new frame of the first gap between source frames; 0 without one.

    The gap is filled a second time if that is quick, as the first time loads kernels and starts
    threads.
    """
    with open_first_gaps(plan, interpolator, device, 1) as first:
        if not first.gaps:
            return 0.0
        seconds = first.measure_seconds(0)
        if seconds < MAX_SECONDS:
            first.producer.take_stats()  # forget the pair
            seconds = first.measure_seconds(0)
        return seconds / len(first.gaps[0])


def describe_duration(
    plan: VideoPlan, interpolator: MemoryAwareInterpolator, device: torch.device
) -> str:
    """Return how long the job will take, as text."""
    count = sum(map(plan.is_new, plan.output_frames()))
    seconds = estimate_seconds_per_frame(plan, interpolator, device)
    return (
        f"about {format_duration(count * seconds)} on one such device, {seconds:.2g} s for each of "
        f"{count} new frames, from the first of them"
    )


def find_explanation_names(
    plan: VideoPlan, interpolator: MemoryAwareInterpolator, device: torch.device
) -> tuple[str, ...]:
    """Return the names in the network's explanations, from its first new frame."""
    with open_first_gaps(plan, interpolator, device, 1) as first:
        explanation = first.fill(0).explanation if first.gaps else None
        return tuple(sorted(explanation or {}))
