"""What is known about the work after the first new frames: how long it takes, what is explained."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain, groupby, islice
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch

from sgm_vfi.video.frame_producer import FrameProducer, FrameWindow, ProducedFrame
from sgm_vfi.video.memory_fallback import MemoryAwareInterpolator
from sgm_vfi.video.pipeline import decode_rgb, find_needed_frames
from sgm_vfi.video.plan import VideoPlan
from sgm_vfi.video.segments import Segment
from sgm_vfi.video.timeline import OutputFrame

GAPS = 6  # that are filled to see how long it takes
PATIENCE = 3.0  # seconds from which on no more of them are begun


class Rehearsal(NamedTuple):
    """All that it takes to make the first new frames as they will be made."""

    producer: FrameProducer
    frames: FrameWindow
    gaps: list[list[OutputFrame]]  # the new frames between each two

    def play(self, gap: int) -> ProducedFrame:
        """Make all new frames of a gap; wait for the device; give the last one."""
        for output_frame in self.gaps[gap]:
            produced = self.producer.produce(output_frame, self.frames)
        produced.frame.sum().item()
        return produced


@contextmanager
def rehearsal(
    plan: VideoPlan, interpolator: MemoryAwareInterpolator, device: torch.device, num_gaps: int
) -> Iterator[Rehearsal]:
    """The first gaps that a network is asked to fill, as many as there are; forgotten after."""
    new = interpolated_frames(plan, uses_context_frames=interpolator.uses_context_frames)
    grouped = groupby(new, lambda output_frame: (output_frame.left, output_frame.right))
    gaps = [list(gap) for _, gap in islice(grouped, num_gaps)]
    producer = FrameProducer(interpolator, plan.producer_options)
    indices = find_needed_frames(
        [Segment(0, tuple(chain(*gaps)))], plan.producer_options.num_history
    )
    with closing(decode_rgb(plan.source, indices, device)) as stream, torch.inference_mode():
        yield Rehearsal(producer, FrameWindow(stream, producer.observe), gaps)
        producer.take_stats()


def interpolated_frames(
    plan: VideoPlan, *, uses_context_frames: bool = False
) -> Iterator[OutputFrame]:
    """The output frames that the network makes."""
    crosses = plan.producer_options.crosses_cut
    for output_frame in plan.output_frames(uses_context_frames=uses_context_frames):
        if output_frame.time and not crosses(output_frame.left, output_frame.right):
            yield output_frame


def estimate_seconds_per_frame(
    plan: VideoPlan, interpolator: MemoryAwareInterpolator, device: torch.device
) -> float:
    """How long a new frame takes, by those of the first gaps but the very first.

    There, kernels are loaded, threads started, and nothing is known of the frame before. What
    disturbs one gap does not count where there are more.
    """
    with rehearsal(plan, interpolator, device, GAPS) as parts:
        if not parts.gaps:
            return 0.0
        parts.play(0)
        if len(parts.gaps) == 1:
            parts.producer.take_stats()  # to begin anew
        begun, each = perf_counter(), []
        for gap in range(1, len(parts.gaps)) or (0,):
            each.append(seconds_for(parts, gap) / len(parts.gaps[gap]))
            if perf_counter() - begun > PATIENCE:
                break
        return median(each)


def seconds_for(parts: Rehearsal, gap: int) -> float:
    """How long the frames of a gap take where those around it are decoded already."""
    first = parts.gaps[gap][0]
    parts.frames.get_pair(first)
    parts.frames.get_context(first)
    start = perf_counter()
    parts.play(gap)
    return perf_counter() - start


def find_explanation_names(
    plan: VideoPlan, interpolator: MemoryAwareInterpolator, device: torch.device
) -> tuple[str, ...]:
    """What the network explains, where it is asked to."""
    with rehearsal(plan, interpolator, device, 1) as parts:
        notes = parts.play(0).explanation if parts.gaps else None
        return tuple(sorted(notes or {}))
