"""Motion hypotheses at time t, made of the flows between two frames, and their weights.

Where flows are wrong or something is occluded, several motions are possible at a pixel. Each is
weighted by how well both frames agree on it: `prepare_hypotheses` once per pair,
`compose_layers` per time, `render` for the frame. Flows are in pixels of reduced frames.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.hole_filling import fill_holes
from sgm_vfi.model.ops.pixel_grid import pixel_grid
from sgm_vfi.model.ops.resize import resize_to
from sgm_vfi.model.ops.splat import splat, splat_sum
from sgm_vfi.model.ops.warp import backward_warp

SHRINK = 4  # factor by which frames are reduced for the motion at time t
WINDOW = 28  # pixels over which agreement is averaged
NOISE = 0.01  # mean colour difference of equal surfaces
HOLE_COVERAGE = 0.1  # coverage of holes, because the flow may be wrong
OUTSIDE_WEIGHT = 1e-3  # weight outside of a frame: counts where nothing else is
SAME_MOTION, OTHER_MOTION = 4.0, 12.0  # pixels between velocities: at most, at least
OCCLUDED_WEIGHT = 0.02  # weight of what an occluder covers
OCCLUDER_GAIN = 50.0  # factor of the weight of an occluder


class BidirectionalMotion(NamedTuple):
    """Reduced frames, flows between them and weights, shared by all times."""

    small0: Tensor
    small1: Tensor
    flow_01: Tensor
    flow_10: Tensor
    trust0: Tensor  # weight of each pixel of frame 0 when it is splatted, (B, 1, h, w)
    trust1: Tensor
    front0: Tensor  # how surely each pixel of frame 0 covers something else, (B, 1, h, w)
    front1: Tensor
    difference: Tensor  # of colours along the flow, on frame 0, then on frame 1, (B, 2, h, w)
    shrink: int  # how many times smaller than the frames


class Hypothesis(NamedTuple):
    """A possible motion through each pixel at time t."""

    velocity: Tensor  # the way from frame 0 to frame 1
    front: Tensor | float  # how surely it is that of a surface in front of all others
    source: int  # the frame that it is of, 0 or 1
    mode: str  # of reading between pixels


class Evidence(NamedTuple):
    """Agreement of both frames on a hypothesis, (B, 1, h, w)."""

    likely: Tensor  # inverse to the squared difference of colours
    shown: tuple[Tensor, Tensor]  # how much each frame shows it, and not what covers it


class Layer(NamedTuple):
    """One warped frame of the composition."""

    source: int  # the frame that it is read from, 0 or 1
    flow: Tensor  # from time t to that frame, in small pixels
    weight: Tensor  # (B, 1, h, w)
    mode: str  # of reading between pixels


class Composition(NamedTuple):
    """The layers of a frame at time t; all weights sum to one."""

    layers: list[Layer]  # those of frame 0 first
    still0: Tensor  # weight of frame 0 as it is, (B, 1, h, w)
    still1: Tensor


def prepare_hypotheses(
    frame0: Tensor, frame1: Tensor, flow_01: Tensor, flow_10: Tensor, shrink: int = SHRINK
) -> BidirectionalMotion:
    """Reduce frames and flows, and weight them, once per pair.

    Shapes: frames (B, 3, H, W), flows (B, 2, h, w) of the frames at any size.
    """
    size = (-(-frame0.shape[-2] // shrink), -(-frame0.shape[-1] // shrink))
    small0, small1 = (F.interpolate(x, size=size, mode="area") for x in (frame0, frame1))
    flow_01, flow_10 = (flow_to_size(flow, size) for flow in (flow_01, flow_10))
    trust0, difference0 = flow_confidence(small0, small1, flow_01, flow_10)
    trust1, difference1 = flow_confidence(small1, small0, flow_10, flow_01)
    front0 = occluder_confidence(flow_01, trust0, flow_10, trust1, shrink)
    front1 = occluder_confidence(flow_10, trust1, flow_01, trust0, shrink)
    difference = torch.cat((difference0, difference1), dim=1)
    maps = small0, small1, flow_01, flow_10, trust0, trust1, front0, front1
    return BidirectionalMotion(*maps, difference, shrink)


def flow_confidence(
    source: Tensor, target: Tensor, flow: Tensor, back: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight each pixel by its photometric and forward-backward consistency.

    Shapes: frames (B, 3, h, w), flows (B, 2, h, w) -> weight and difference, (B, 1, h, w).
    """
    difference = (source - backward_warp(target, flow)).abs().mean(dim=1, keepdim=True)
    missed = flow_magnitude(flow + backward_warp(back, flow))
    missed = missed / (1 + 0.05 * flow_magnitude(flow))  # long ways end less exactly
    return torch.exp((-20 * difference - missed).clamp(min=-20)), difference


def occluder_confidence(
    flow: Tensor, trust: Tensor, back: Tensor, trust_back: Tensor, shrink: int
) -> Tensor:
    """Estimate how surely each pixel covers something that the other frame shows.

    It does if its own flow is consistent, and inconsistent pixels of the other frame that move
    differently lead to it.

    Shapes: flow and trust of the frame, those of the other one -> (B, 1, h, w).
    """
    lost = 1 - trust_back
    came, landed = splat(-back, back, lost, epsilon=1e-3)
    return trust * motion_separation(flow - came, shrink) * landed.clamp(max=1)


def compose_layers(motion: BidirectionalMotion, time: Tensor) -> Composition:
    """Compose the frame at `time` of layers whose weights sum to one.

    The flow of each frame is one hypothesis where it lands, and another where it starts.
    Occluders are in front of everything else where they land. A frame contributes nothing at
    pixels where it shows an occluder.
    """
    flow_01, flow_10 = motion.flow_01, motion.flow_10
    weight0, weight1 = (
        weight * OCCLUDER_GAIN**front
        for weight, front in ((motion.trust0, motion.front0), (motion.trust1, motion.front1))
    )
    landed0, cover0, front0 = splat_velocity(flow_01, time * flow_01, weight0, motion.front0)
    landed1, cover1, front1 = splat_velocity(-flow_10, (1 - time) * flow_10, weight1, motion.front1)
    guesses = (
        Hypothesis(landed0, front0, 0, "bicubic"),
        Hypothesis(-flow_10, 0.0, 0, "bilinear"),
        Hypothesis(landed1, front1, 1, "bicubic"),
        Hypothesis(flow_01, 0.0, 1, "bilinear"),
    )
    looks = [gather_evidence(motion, guess.velocity, time) for guess in guesses]
    still = gather_evidence(motion, None, time)
    best = torch.stack([x.likely for x in (*looks, still)]).amax(dim=0)
    shares = (1 - time) * cover0, time * cover1
    layers = [
        build_layer(guess, seen, time, best, shares[guess.source])
        for guess, seen in zip(guesses, looks, strict=True)
    ]
    still0, still1 = (
        share * still.likely * shown for share, shown in zip(shares, still.shown, strict=True)
    )
    total = sum((x.weight for x in layers), still0 + still1)
    layers = [x._replace(weight=x.weight / total) for x in layers]
    return Composition(layers, still0 / total, still1 / total)


def build_layer(
    guess: Hypothesis, seen: Evidence, time: Tensor, best: Tensor, share: Tensor
) -> Layer:
    """Build the layer of a hypothesis, with a weight that is not yet normalised."""
    velocity, front, source, mode = guess
    likely = seen.likely ** (1 - front) * (OCCLUDER_GAIN * best) ** front
    flow = (-time, 1 - time)[source] * velocity
    weight = share * likely * seen.shown[source] * (inside_frame_weight(flow) + OUTSIDE_WEIGHT)
    return Layer(source, flow, weight, mode)


def render(mixture: Composition, frame0: Tensor, frame1: Tensor) -> Tensor:
    """Render the frame at time t, from frames of any size. Shapes: (B, 3, H, W), all."""
    height, width = frame0.shape[-2:]
    size = (height, width)
    frame = resize_to(mixture.still0, size) * frame0
    frame = frame.addcmul(resize_to(mixture.still1, size), frame1)
    for layer in mixture.layers:
        flow, weight = flow_to_size(layer.flow, size), resize_to(layer.weight, size)
        source = (frame0, frame1)[layer.source]
        frame = frame.addcmul(weight, backward_warp(source, flow, mode=layer.mode))
    return frame.clamp(0, 1)


def splat_velocity(
    velocity: Tensor, step: Tensor, weight: Tensor, front: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Splat velocities along a flow, and fill the holes.

    Shapes: velocity and step (B, 2, h, w), weight and front (B, 1, h, w) -> splatted velocity,
    coverage (B, 1, h, w), which is low in holes, and splatted `front`, which is zero in holes.
    """
    source = torch.cat((velocity * weight, front * weight, weight, torch.ones_like(weight)), dim=1)
    landed, total, mass = splat_sum(source, step).split((3, 1, 1), dim=1)
    landed = landed / (total + 1e-12)
    filled = fill_holes(landed[:, :2], 2 * mass)
    return filled, (HOLE_COVERAGE + 4 * mass).clamp(max=1), landed[:, 2:] * (2 * mass).clamp(max=1)


def gather_evidence(motion: BidirectionalMotion, velocity: Tensor | None, time: Tensor) -> Evidence:
    """Compare both frames along a velocity, or as they are; occluded pixels do not count."""
    frames = (
        (motion.small0, motion.flow_01, motion.trust0, -time),
        (motion.small1, -motion.flow_10, motion.trust1, 1 - time),
    )
    colours, shown, seen = [], [], torch.ones_like(motion.trust0)
    for small, own, trusted, step in frames:
        colour, there, surely = small, own, trusted
        if velocity is not None:
            flow = step * velocity
            read = backward_warp(torch.cat((small, own, trusted), dim=1), flow)
            colour, there, surely = read.split((3, 2, 1), dim=1)
            there = there - velocity
            seen = seen * inside_frame_weight(flow)
        covered = surely * motion_separation(there, motion.shrink)
        colours.append(colour)
        shown.append(1 - (1 - OCCLUDED_WEIGHT) * covered)
        seen = seen * shown[-1]
    seen = seen + OUTSIDE_WEIGHT
    difference = (colours[0] - colours[1]).abs().mean(dim=1, keepdim=True)
    reach = WINDOW // (2 * motion.shrink)
    both = F.pad(torch.cat((difference * seen, seen), dim=1), [reach] * 4)
    around, seen = sum_windows(sum_windows(both, reach, -1), reach, -2).split(1, dim=1)
    return Evidence((around / seen + NOISE) ** -2, (shown[0], shown[1]))


def sum_windows(x: Tensor, reach: int, dim: int) -> Tensor:
    """Add up all windows of 2 * reach + 1 values along a dimension.

    Sums of 1, 2, 4, ... values are made of each other: six times as fast as an average pool.
    """
    length, start, total = x.shape[dim] - 2 * reach, 0, None
    width, power = 1, x
    for bit in f"{2 * reach + 1:b}"[::-1]:
        if bit == "1":
            part = power.narrow(dim, start, length)
            total = part if total is None else total + part
            start += width
        count = power.shape[dim] - width
        power = (
            power.narrow(dim, 0, count) + power.narrow(dim, width, count) if count > 0 else power
        )
        width *= 2
    assert total is not None, "a window has an odd number of values"
    return total


def motion_separation(difference: Tensor, shrink: int) -> Tensor:
    """Return 0 for equal, 1 for different motions. Shapes: (B, 2, h, w) -> (B, 1, h, w)."""
    return (
        (shrink * flow_magnitude(difference) - SAME_MOTION) / (OTHER_MOTION - SAME_MOTION)
    ).clamp(0, 1)


def flow_magnitude(flow: Tensor) -> Tensor:
    """Return the norm, differentiable at zero. Shapes: (B, 2, h, w) -> (B, 1, h, w)."""
    x, y = flow.split(1, dim=1)
    return (x * x + y * y + 1e-12).sqrt()  # several times as fast as PyTorch's norm on a CPU


def inside_frame_weight(flow: Tensor) -> Tensor:
    """Return 1 where a flow points into the frame, falling to 0 half a pixel outside.

    Shapes: (B, 2, h, w) -> (B, 1, h, w).
    """
    height, width = flow.shape[-2:]
    x, y = pixel_grid(flow)
    x, y = x + flow[:, 0], y + flow[:, 1]
    margin = torch.minimum(torch.minimum(x, width - 1 - x), torch.minimum(y, height - 1 - y))
    return (1 + 2 * margin).clamp(0, 1)[:, None]


def flow_to_size(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a flow and its vectors; the nearest vector is taken when reducing.

    A mean across a motion boundary would belong to neither motion.

    Shapes: (B, 2, H, W) -> (B, 2, *size).
    """
    height, width = flow.shape[-2:]
    ratio = flow.new_tensor((size[1] / width, size[0] / height)).view(1, 2, 1, 1)
    down = size[0] < height or size[1] < width
    resized = F.interpolate(flow, size, mode="nearest-exact") if down else resize_to(flow, size)
    return resized * ratio
