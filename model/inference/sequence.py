"""A stream of frames in, a denser stream out."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from model.interpolator import Interpolator, time_like


def densify(
    interpolator: Interpolator,
    frames: Iterable[Tensor],
    times: Sequence[float],
    flow_scale: float = 1.0,
) -> Iterator[Tensor]:
    """Give every frame as it came, and between it and the next a new one for each time.

    Holds two of the frames at once, however many there are.

    Shapes: frames (B, 3, H, W) -> the same.
    """
    before = None
    for after in frames:
        if before is not None:
            yield from between(interpolator, before, after, times, flow_scale)
        yield after
        before = after


@torch.inference_mode()
def between(
    interpolator: Interpolator,
    frame0: Tensor,
    frame1: Tensor,
    times: Iterable[float],
    flow_scale: float = 1.0,
) -> Iterator[Tensor]:
    """Give the frame at each of some times between two, which are prepared once.

    Shapes: frames (B, 3, H, W) -> the same.
    """
    state = interpolator.prepare(frame0, frame1, flow_scale)
    for time in times:
        yield interpolator.at(state, time_like(frame0, time)).frame


def there_and_back(
    interpolator: Interpolator, frame0: Tensor, frame1: Tensor, times: Iterable[float]
) -> list[Tensor]:
    """One round of an endless movement from a frame to another and back.

    Shapes: frames (B, 3, H, W) -> both of them once, the new ones twice.
    """
    way = list(between(interpolator, frame0, frame1, times))
    return [frame0, *way, frame1, *reversed(way)]
