"""A clip through RAFT-VFI as its own pipeline takes it, a few frames at a time."""

from collections.abc import Iterable, Iterator
from itertools import pairwise, starmap
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.baselines.raft_vfi.network import RAFTVFI, Gap, View
from sgm_vfi.model.baselines.raft_vfi.scenes import is_cut
from sgm_vfi.model.baselines.raft_vfi.schedule import steps
from sgm_vfi.model.interpolator import require_frames, time_like

Item = TypeVar("Item")


class Shown(NamedTuple):
    """A frame of the clip, and how the network looks at it."""

    frame: Tensor
    view: View  # with zeros to the right and below, up to a good size


class Link(NamedTuple):
    """What is known of two frames that follow each other, whatever is before and after."""

    first: Shown
    second: Shown
    raw: tuple[Tensor, Tensor]  # flow_01 and flow_10 as RAFT gives them
    flow: Tensor  # both, refined
    is_cut: bool


def resampled(
    network: RAFTVFI, frames: Iterable[Tensor], advance: float, flow_scale: float = 1.0
) -> Iterator[Tensor]:
    """Show a clip at another rate, by the published rules; source frames come as they are.

    Across a change of scene the frame before it is shown until the one after it is nearer.

    Args:
        advance: rate of the source / rate wanted.

    Shapes: frames (1, 3, H, W) of one size -> the same.
    """
    coming = steps(advance)
    step = next(coming)
    latest: list[Tensor] = []

    def watched() -> Iterator[Tensor]:
        for frame in frames:
            latest[:] = [frame]
            yield frame

    number = -1
    for number, (frame0, frame1, gap) in enumerate(gaps(network, watched(), flow_scale)):
        while step.gap == number:
            if step.time == 1:
                yield frame1
            elif step.time == 0 or gap is None:
                yield frame0
            else:
                yield interpolated(network, gap, step.time, frame0)
            step = next(coming)
    if number < 0:
        yield from latest  # a clip of one frame, or of none


@torch.inference_mode()
def gaps(
    network: RAFTVFI, frames: Iterable[Tensor], flow_scale: float = 1.0
) -> Iterator[tuple[Tensor, Tensor, Gap | None]]:
    """Give each two frames that follow each other, and what serves the times between them.

    None serves a change of scene; beside one, and at both ends of the clip, motion is uniform.
    Each frame is looked at once, and flows are estimated once between two of them, whichever gaps
    they serve. Holds four frames at once, however many there are.

    Shapes: frames (1, 3, H, W) of one size.
    """
    links = (link(network, *pair) for pair in pairwise(shown(network, frames, flow_scale)))
    yield from starmap(served, with_neighbours(links))


def served(
    before: Link | None, here: Link, after: Link | None
) -> tuple[Tensor, Tensor, Gap | None]:
    """Two frames, and what serves the times between them."""
    (frame0, view0), (frame1, view1) = here.first, here.second
    if here.is_cut:
        return frame0, frame1, None
    outwards = None
    if before is not None and after is not None and not (before.is_cut or after.is_cut):
        outwards = torch.cat((before.raw[1], after.raw[0]), dim=1)
    return frame0, frame1, Gap(view0, view1, here.raw, here.flow, outwards)


def shown(network: RAFTVFI, frames: Iterable[Tensor], flow_scale: float) -> Iterator[Shown]:
    """Pad the frames, and refuse one that is unlike the one before."""
    multiple = network.size_multiple(flow_scale)
    before = None
    for frame in frames:
        if len(frame) != 1:
            raise ValueError(f"A clip has frames (1, 3, H, W), got {tuple(frame.shape)}.")
        height, width = frame.shape[-2:]
        padded = F.pad(frame, (0, -width % multiple, 0, -height % multiple))
        require_frames(padded if before is None else before, padded, network, flow_scale)
        before = padded
        yield Shown(frame, network.view(padded, flow_scale))


def link(network: RAFTVFI, first: Shown, second: Shown) -> Link:
    """Estimate the motion between two frames."""
    raw = network.flows(first.view, second.view)
    flow = network.refine(first.view, second.view, raw)
    height, width = (int(side * first.view.flow_scale) for side in first.frame.shape[-2:])
    maps = (first.view.small, second.view.small, *flow.chunk(2, dim=1))
    return Link(first, second, raw, flow, is_cut(*(x[..., :height, :width] for x in maps)))


def with_neighbours(items: Iterable[Item]) -> Iterator[tuple[Item | None, Item, Item | None]]:
    """Give each item between the one before and the one after; None at the ends."""
    before, here = None, None
    for after in items:
        if here is not None:
            yield before, here, after
        before, here = here, after
    if here is not None:
        yield before, here, None


@torch.inference_mode()
def interpolated(network: RAFTVFI, gap: Gap, time: float, like: Tensor) -> Tensor:
    """The frame at a time, of the size that the frames had before they were padded."""
    height, width = like.shape[-2:]
    return network.interpolate(gap, time_like(like, time)).frame[..., :height, :width]
