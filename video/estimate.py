"""What is known about the work after the first new frames: how long it takes, what is explained."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain, groupby, islice
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch

from sgm_vfi.video.frame_producer import Maker, Shot
from sgm_vfi.video.memory_fallback import Synthesis
from sgm_vfi.video.pipeline import Frames, decoded, wanted
from sgm_vfi.video.plan import VideoPlan
from sgm_vfi.video.segments import Segment
from sgm_vfi.video.timeline import Moment

GAPS = 6  # that are filled to see how long it takes
PATIENCE = 3.0  # seconds from which on no more of them are begun


class Rehearsal(NamedTuple):
    """All that it takes to make the first new frames as they will be made."""

    maker: Maker
    frames: Frames
    gaps: list[list[Moment]]  # the new frames between each two

    def play(self, gap: int) -> Shot:
        """Make all new frames of a gap; wait for the device; give the last one."""
        for moment in self.gaps[gap]:
            shot = self.maker.shoot(moment, self.frames)
        shot.frame.sum().item()
        return shot


@contextmanager
def rehearsal(
    plan: VideoPlan, synthesis: Synthesis, device: torch.device, num_gaps: int
) -> Iterator[Rehearsal]:
    """The first gaps that a network is asked to fill, as many as there are; forgotten after."""
    new = interpolated_frames(plan, uses_context_frames=synthesis.uses_context_frames)
    grouped = groupby(new, lambda moment: (moment.left, moment.right))
    gaps = [list(gap) for _, gap in islice(grouped, num_gaps)]
    maker = Maker(synthesis, plan.judgement)
    indices = wanted([Segment(0, tuple(chain(*gaps)))], plan.judgement.lead)
    with closing(decoded(plan.source, indices, device)) as stream, torch.inference_mode():
        yield Rehearsal(maker, Frames(stream, maker.see), gaps)
        maker.take_tally()


def interpolated_frames(plan: VideoPlan, *, uses_context_frames: bool = False) -> Iterator[Moment]:
    """The output frames that the network makes."""
    crosses = plan.judgement.crosses_cut
    for moment in plan.moments(uses_context_frames=uses_context_frames):
        if moment.time and not crosses(moment.left, moment.right):
            yield moment


def estimate_seconds_per_frame(
    plan: VideoPlan, synthesis: Synthesis, device: torch.device
) -> float:
    """How long a new frame takes, by those of the first gaps but the very first.

    There, kernels are loaded, threads started, and nothing is known of the frame before. What
    disturbs one gap does not count where there are more.
    """
    with rehearsal(plan, synthesis, device, GAPS) as parts:
        if not parts.gaps:
            return 0.0
        parts.play(0)
        if len(parts.gaps) == 1:
            parts.maker.take_tally()  # to begin anew
        begun, each = perf_counter(), []
        for gap in range(1, len(parts.gaps)) or (0,):
            each.append(seconds_for(parts, gap) / len(parts.gaps[gap]))
            if perf_counter() - begun > PATIENCE:
                break
        return median(each)


def seconds_for(parts: Rehearsal, gap: int) -> float:
    """How long the frames of a gap take where those around it are decoded already."""
    first = parts.gaps[gap][0]
    parts.frames.pair(first)
    parts.frames.around(first)
    start = perf_counter()
    parts.play(gap)
    return perf_counter() - start


def find_explanation_names(
    plan: VideoPlan, synthesis: Synthesis, device: torch.device
) -> tuple[str, ...]:
    """What the network explains, where it is asked to."""
    with rehearsal(plan, synthesis, device, 1) as parts:
        notes = parts.play(0).notes if parts.gaps else None
        return tuple(sorted(notes or {}))
