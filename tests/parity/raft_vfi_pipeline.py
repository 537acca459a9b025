"""RAFT-VFI's published video pipeline (Apache-2.0): output schedule, scene cuts, and a whole clip.

The product has its own timeline and scene-cut detector; this one exists to reproduce the golden
numbers of the published pipeline, with its rounding. Frames are (1, 3, H, W) in [0, 1], in the
colour order of the weights; flows are (1, 2, H, W) in pixels.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise, starmap
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.baselines.raft_vfi.network import RAFTVFI, RAFTVFIFrame, RAFTVFIState
from sgm_vfi.model.interpolator import require_frames, time_like
from sgm_vfi.model.ops.pixel_grid import pixel_grid

Item = TypeVar("Item")

TIME_DECIMALS = 2  # of a time between two frames
LUMA = (0.299, 0.587, 0.114)  # of the channels in the order of the weights, also if that is BGR
BINS = 64
IGNORED = 0.01  # smaller differences of two histogram bins count as zero
CHANGED_IN_ALL, CHANGED_IN_ONE = 0.8, 0.4  # limits of the sum and the maximum of the differences
MARGIN, SPACING = 64, 8  # pixels: of the grid on which motion is tested
BOX = 8  # pixels, each way, over which differences are averaged
DIFFERENT = 5  # grey levels


class Step(NamedTuple):
    """One output frame."""

    gap: int  # index of the source frame before it
    time: float  # in [0, 1]; 0 and 1 stand for the source frames themselves


def output_steps(advance: float) -> Iterator[Step]:
    """Yield the output frames without end, `advance` source frames apart.

    An output frame less than half a step from a source frame is replaced by it.

    Args:
        advance: source rate / output rate.
    """
    if not advance > 0:
        raise ValueError(f"Output goes forward by more than 0 source frames, got {advance:g}.")
    position = 0.0
    while True:
        gap = max(math.ceil(position) - 1, 0)
        time = round(position - gap, TIME_DECIMALS)
        if time < advance / 2:
            time = 0.0
        elif 1 - time < advance / 2:
            time = 1.0
        yield Step(gap, time)
        position += advance


def is_scene_cut(frame0: Tensor, frame1: Tensor, flow_01: Tensor, flow_10: Tensor) -> bool:
    """Whether histograms differ, or flows are inconsistent where brightness differs.

    The flow test uses a grid that frames of up to 128 pixels a side do not have.
    """
    grey0, grey1 = grey_levels(frame0), grey_levels(frame1)
    difference = (histogram(grey0) - histogram(grey1)).abs()
    difference = torch.where(difference < IGNORED, 0, difference)
    if difference.sum() > CHANGED_IN_ALL or difference.max() > CHANGED_IN_ONE:
        return True
    inconsistent = inconsistent_points(grey0, grey1, flow_01, flow_10)
    return bool(2 * inconsistent.sum() > inconsistent.numel())


def grey_levels(frame: Tensor) -> Tensor:
    """Return the luma in whole levels, 0 to 255. Shapes: (1, 3, H, W) -> (1, 1, H, W)."""
    weight = frame.new_tensor(LUMA).view(1, 3, 1, 1)
    return (255 * frame * weight).sum(dim=1, keepdim=True).trunc()


def histogram(grey: Tensor) -> Tensor:
    """Return the share of the pixels in each brightness bin. Shapes: -> (BINS,)."""
    return torch.histc(grey, BINS, 0, 255) / grey.numel()


def inconsistent_points(grey0: Tensor, grey1: Tensor, flow_01: Tensor, flow_10: Tensor) -> Tensor:
    """Mark the grid points whose flows do not cancel and whose brightness differs.

    Shapes: grey (1, 1, H, W), flows (1, 2, H, W) -> (rows, columns), bool, possibly empty.
    """
    height, width = grey0.shape[-2:]
    x, y = pixel_grid(flow_01)
    column = (x + flow_01[0, 0] + 0.5).clamp(0, width - 1).long()
    row = (y + flow_01[0, 1] + 0.5).clamp(0, height - 1).long()
    error = (flow_01[0] + flow_10[0][:, row, column]).norm(dim=0)
    reach = torch.maximum(
        flow_01[0, 0].abs() * (width / 1920), flow_01[0, 1].abs() * (height / 1080)
    )
    is_lost = error > (0.1 * reach + 4).clamp(5, 14)
    difference = (grey0[0] - grey1[0][:, row, column]).abs()
    before, after = BOX // 2, BOX - BOX // 2 - 1
    mean = F.avg_pool2d(F.pad(difference, (before, after, before, after)), BOX, stride=1)
    both = is_lost & (mean[0] > DIFFERENT)
    return both[MARGIN : height - MARGIN : SPACING, MARGIN : width - MARGIN : SPACING]


class ClipFrame(NamedTuple):
    """A frame of the clip and its features."""

    frame: Tensor
    features: RAFTVFIFrame  # of the frame padded with zeros on the right and at the bottom


class FramePairMotion(NamedTuple):
    """The motion between two consecutive frames."""

    first: ClipFrame
    second: ClipFrame
    raw: tuple[Tensor, Tensor]  # flow_01 and flow_10 as RAFT estimates them
    flow: Tensor  # both, refined
    is_cut: bool


def resample(
    network: RAFTVFI, frames: Iterable[Tensor], advance: float, flow_scale: float = 1.0
) -> Iterator[Tensor]:
    """Yield a clip at another frame rate; source frames are passed through unchanged.

    At a scene cut the nearer source frame is repeated.

    Args:
        advance: source rate / output rate.
    """
    upcoming = output_steps(advance)
    step = next(upcoming)
    latest: list[Tensor] = []

    def remembered() -> Iterator[Tensor]:
        for frame in frames:
            latest[:] = [frame]
            yield frame

    number = -1
    for number, (frame0, frame1, state) in enumerate(
        prepare_pairs(network, remembered(), flow_scale)
    ):
        while step.gap == number:
            if step.time == 1:
                yield frame1
            elif step.time == 0 or state is None:
                yield frame0
            else:
                yield interpolate_at(network, state, step.time, frame0)
            step = next(upcoming)
    if number < 0:
        yield from latest  # a clip of one frame, or of none


@torch.inference_mode()
def prepare_pairs(
    network: RAFTVFI, frames: Iterable[Tensor], flow_scale: float = 1.0
) -> Iterator[tuple[Tensor, Tensor, RAFTVFIState | None]]:
    """Yield consecutive frames and their state; None at a scene cut.

    Next to a cut and at both ends of the clip motion is linear. Every frame is encoded once, every
    flow is estimated once, and at most four frames are in memory.
    """
    motions = (
        estimate_motion(network, *pair) for pair in pairwise(encode(network, frames, flow_scale))
    )
    yield from starmap(build_state, with_neighbours(motions))


def build_state(
    before: FramePairMotion | None, here: FramePairMotion, after: FramePairMotion | None
) -> tuple[Tensor, Tensor, RAFTVFIState | None]:
    """Return two frames and the state from which any time between them is interpolated."""
    (frame0, features0), (frame1, features1) = here.first, here.second
    if here.is_cut:
        return frame0, frame1, None
    context_flows = None
    if before is not None and after is not None and not (before.is_cut or after.is_cut):
        context_flows = torch.cat((before.raw[1], after.raw[0]), dim=1)
    state = RAFTVFIState(features0, features1, here.raw, here.flow, context_flows)
    return frame0, frame1, state


def encode(network: RAFTVFI, frames: Iterable[Tensor], flow_scale: float) -> Iterator[ClipFrame]:
    """Pad and encode the frames; a ValueError where one differs in shape from the one before."""
    multiple = network.size_multiple(flow_scale)
    before = None
    for frame in frames:
        if len(frame) != 1:
            raise ValueError(f"A clip has frames (1, 3, H, W), got {tuple(frame.shape)}.")
        height, width = frame.shape[-2:]
        padded = F.pad(frame, (0, -width % multiple, 0, -height % multiple))
        require_frames(padded if before is None else before, padded, network, flow_scale)
        before = padded
        yield ClipFrame(frame, network.encode_frame(padded, flow_scale))


def estimate_motion(network: RAFTVFI, first: ClipFrame, second: ClipFrame) -> FramePairMotion:
    """Estimate the motion between two frames, and whether there is a cut."""
    raw = network.estimate_flows(first.features, second.features)
    flow = network.refine(first.features, second.features, raw)
    scale = first.features.flow_scale
    height, width = (int(side * scale) for side in first.frame.shape[-2:])
    maps = (first.features.scaled, second.features.scaled, *flow.chunk(2, dim=1))
    is_cut = is_scene_cut(*(x[..., :height, :width] for x in maps))
    return FramePairMotion(first, second, raw, flow, is_cut)


def with_neighbours(items: Iterable[Item]) -> Iterator[tuple[Item | None, Item, Item | None]]:
    """Yield each item between the one before and the one after; None at the ends."""
    before, here = None, None
    for after in items:
        if here is not None:
            yield before, here, after
        before, here = here, after
    if here is not None:
        yield before, here, None


@torch.inference_mode()
def interpolate_at(network: RAFTVFI, state: RAFTVFIState, time: float, like: Tensor) -> Tensor:
    """Interpolate at a time and crop to the size of `like`."""
    height, width = like.shape[-2:]
    return network.interpolate(state, time_like(like, time)).frame[..., :height, :width]
