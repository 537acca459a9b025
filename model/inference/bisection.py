"""Other times for networks trained for t = 1/2 only, by bisection."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sgm_vfi.model.inference.wrapper_base import Wrapper, map_tensors
from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    flow_scale_fraction,
    require_frames,
    time_like,
)


class BisectionState(NamedTuple):
    """Two frames, and the midpoints computed so far."""

    frame0: Tensor
    frame1: Tensor
    flow_scale: float
    midpoints: dict[int, Interpolation]  # by k, for time k / 2^depth


class Bisected(Wrapper):
    """Interpolates at the nearest time k / 2^depth by repeated halving of the interval.

    Midpoints are kept in the state and computed once. Explanations are those of the last halving:
    their flows lead to the two frames next to it.

    Args:
        depth: maximal number of halvings; times are met to within 1 / 2^(depth + 1).
    """

    def __init__(self, inner: Interpolator, depth: int = 5) -> None:
        if depth < 1:
            raise ValueError(f"Bisection takes one halving or more, got depth {depth}.")
        super().__init__(inner)
        self.any_time = True
        self.uses_context_frames = False  # the context of a half differs from that of the whole
        self.depth = depth

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> BisectionState:
        """Keep both frames; midpoints are computed when they are needed."""
        require_frames(frame0, frame1, self)
        flow_scale_fraction(flow_scale, self.largest_flow_scale)
        return BisectionState(frame0, frame1, flow_scale, {})

    def interpolate(
        self, state: BisectionState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Return the nearest time that bisection reaches."""
        last = 2**self.depth - 1
        numbers = (time.flatten() * 2**self.depth).round().clamp(1, last).long().tolist()
        results = {number: self._midpoint(state, number, explain) for number in set(numbers)}
        return map_tensors(select_samples, *(results[number] for number in numbers))

    def _midpoint(self, state: BisectionState, number: int, explain: bool = False) -> Interpolation:
        if explain or number not in state.midpoints:
            half = number & -number  # lowest bit: distance to both parents
            before, after = self._frame(state, number - half), self._frame(state, number + half)
            time = time_like(before, 0.5)
            made = self.inner(before, after, time, state.flow_scale, explain=explain)
            state.midpoints[number] = made._replace(explanation=None)  # to keep no more than frames
            return made
        return state.midpoints[number]

    def _frame(self, state: BisectionState, number: int) -> Tensor:
        if number == 0:
            return state.frame0
        if number == 2**self.depth:
            return state.frame1
        return self._midpoint(state, number).frame


def support_times(
    interpolator: Interpolator, times: Sequence[float], depth: int = 5
) -> Interpolator:
    """Return the interpolator, in `Bisected` if it does not support all these times.

    Args:
        depth: minimal depth; it grows with the number of times, so that all of them differ.
    """
    if interpolator.any_time or all(time == 0.5 for time in times):
        return interpolator
    return Bisected(interpolator, max(depth, len(times).bit_length()))


def select_samples(*batches: Tensor) -> Tensor:
    """Take sample i of batch i. Shapes: B times (B, ...) -> (B, ...)."""
    return torch.stack([batch[sample] for sample, batch in enumerate(batches)])
