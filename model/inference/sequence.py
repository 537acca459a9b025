"""A stream of frames in, a denser stream out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sgm_vfi.model.interpolator import Interpolator, time_like


def interpolate_sequence(
    interpolator: Interpolator,
    frames: Iterable[Tensor],
    times: Sequence[float],
    flow_scale: float = 1.0,
) -> Iterator[Tensor]:
    """Give every frame as it came, and between it and the next a new one for each time.

    Holds two of the frames at once, however many there are, and what the network keeps of them.

    Shapes: frames (B, 3, H, W) -> the same.
    """
    before = state = None
    for after in frames:
        if before is not None:
            with torch.inference_mode():
                if state is None:
                    state = interpolator.prepare(before, after, flow_scale)
                else:
                    state = interpolator.advance(state, before, after, flow_scale)
            yield from _at_each(interpolator, state, before, times)
        yield after
        before = after


def interpolate_times(
    interpolator: Interpolator,
    frame0: Tensor,
    frame1: Tensor,
    times: Iterable[float],
    flow_scale: float = 1.0,
) -> Iterator[Tensor]:
    """Give the frame at each of some times between two, which are prepared once.

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
    """One round of an endless movement from a frame to another and back.

    Shapes: frames (B, 3, H, W) -> both of them once, the new ones twice.
    """
    way = list(interpolate_times(interpolator, frame0, frame1, times))
    return [frame0, *way, frame1, *reversed(way)]
