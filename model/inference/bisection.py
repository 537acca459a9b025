"""Any time from a network that was trained for the middle only."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sgm_vfi.model.inference.wrapper import Wrapper, map_tensors
from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    flow_scale_fraction,
    require_frames,
    time_like,
)


class BisectionState(NamedTuple):
    """Two frames, and every midpoint between them that was asked for so far."""

    frame0: Tensor
    frame1: Tensor
    flow_scale: float
    midpoints: dict[int, Interpolation]  # by their number among the times that can be reached


class Bisected(Wrapper):
    """Halves the interval, and the half, and so on, down to the time that is nearest.

    It reaches the times k / 2^depth, 0 < k < 2^depth, and remembers the midpoints on the way, so
    that each is made once however many times are asked for. Explanations are those of the last
    halving: their flows lead to the two frames that it was made between.

    Args:
        depth: halvings at most; times are met to within 1 / 2^(depth + 1).
    """

    def __init__(self, inner: Interpolator, depth: int = 5) -> None:
        if depth < 1:
            raise ValueError(f"It takes one halving or more to get anywhere, got depth {depth}.")
        super().__init__(inner)
        self.any_time = True
        self.uses_context_frames = False  # a half has other frames around it than the whole
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
            half = number & -number  # the lowest bit: a parent lies that far away on either side
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
    """The interpolator itself where it can give all these times, else halved down to them.

    Args:
        depth: of the halvings at least; more where so many times would not all be told apart.
    """
    if interpolator.any_time or all(time == 0.5 for time in times):
        return interpolator
    return Bisected(interpolator, max(depth, len(times).bit_length()))


def select_samples(*batches: Tensor) -> Tensor:
    """Of the first batch the first sample, of the second the second. Shapes: B times (B, ...)."""
    return torch.stack([batch[sample] for sample, batch in enumerate(batches)])
