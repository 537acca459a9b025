"""Interpolation of whole sequences of frames, pair by pair."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sgm_vfi.model.interpolator import Interpolator, time_like


def interpolate_sequence(
    interpolator: Interpolator,
    frames: Iterable[Tensor],
    times: Sequence[float] | Callable[[int], Sequence[float]],
    flow_scale: float = 1.0,
) -> Iterator[Tensor]:
    """Yield every frame, and after it the interpolated frames at each time before the next.

    Holds two frames and the state of the network, however long the sequence is.

    Args:
        times: of the new frames in every gap, or a function that returns those of a gap by its
            number, from 0.

    Shapes: frames (B, 3, H, W) -> the same.
    """
    before = state = None
    for number, after in enumerate(frames):
        if before is not None:
            with torch.inference_mode():
                if state is None:
                    state = interpolator.prepare(before, after, flow_scale)
                else:
                    state = interpolator.advance(state, before, after, flow_scale)
            gap_times = times(number - 1) if callable(times) else times
            yield from _at_each(interpolator, state, before, gap_times)
        yield after
        before = after


def interpolate_times(
    interpolator: Interpolator,
    frame0: Tensor,
    frame1: Tensor,
    times: Iterable[float],
    flow_scale: float = 1.0,
) -> Iterator[Tensor]:
    """Yield the frame at each time between two frames, which are prepared once.

    Shapes: frames (B, 3, H, W) -> the same.
    """
    with torch.inference_mode():
        state = interpolator.prepare(frame0, frame1, flow_scale)
    yield from _at_each(interpolator, state, frame0, times)


@torch.inference_mode()
def _at_each(
    interpolator: Interpolator, state: Any, like: Tensor, times: Iterable[float]
) -> Iterator[Tensor]:
    for time in times:
        yield interpolator.interpolate(state, time_like(like, time)).frame


def interpolate_loop(
    interpolator: Interpolator, frame0: Tensor, frame1: Tensor, times: Iterable[float]
) -> list[Tensor]:
    """Return one round of a loop from frame 0 to frame 1 and back.

    Shapes: frames (B, 3, H, W) -> both of them once, interpolated ones twice.
    """
    way = list(interpolate_times(interpolator, frame0, frame1, times))
    return [frame0, *way, frame1, *reversed(way)]
