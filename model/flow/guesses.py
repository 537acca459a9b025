"""Several guesses of the motion at a time between two frames, made of the flows between them.

Where flows are wrong or something is hidden, nothing says which of several motions is the right
one. So several are followed, and weighed by how well both frames agree on each.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.ops.fill import fill_holes
from model.ops.grid import pixel_grid
from model.ops.resize import resize_to
from model.ops.splat import splat, splat_sum
from model.ops.warp import backward_warp

SHRINK = 4  # motion at time t is found on frames that many times smaller
WINDOW = 7  # over which agreement is measured, in small pixels
NOISE = 0.01  # a mean difference of colours that says little
HIDDEN = 0.1  # weight of a frame where nothing of it lands: the flow may also be wrong
UNSEEN = 1e-3  # weight of what a frame does not show: it counts where nothing else is


class Flows(NamedTuple):
    """What serves every time between two frames: small maps, in small pixels."""

    small0: Tensor
    small1: Tensor
    flow_01: Tensor
    flow_10: Tensor
    trust0: Tensor  # weight of each pixel of frame 0 when it is splatted, (B, 1, h, w)
    trust1: Tensor
    difference: Tensor  # of colours along the flow, on frame 0, then on frame 1, (B, 2, h, w)


class Layer(NamedTuple):
    """One picture of the mixture."""

    source: int  # the frame that it is read from, 0 or 1
    flow: Tensor  # from time t to that frame, in small pixels
    weight: Tensor  # (B, 1, h, w)
    mode: str  # of reading between pixels


class Mixture(NamedTuple):
    """What a frame at time t consists of; the weights sum to one."""

    layers: list[Layer]  # those of frame 0 first
    still0: Tensor  # weight of frame 0 as it is, (B, 1, h, w)
    still1: Tensor


def weigh(frame0: Tensor, frame1: Tensor, flow_01: Tensor, flow_10: Tensor) -> Flows:
    """Make ready, once per pair, what guesses at any time are made of.

    Shapes: frames (B, 3, H, W), flows (B, 2, h, w) of the frames at any size.
    """
    size = [-(-side // SHRINK) for side in frame0.shape[-2:]]
    small0, small1 = (F.interpolate(x, size=size, mode="area") for x in (frame0, frame1))
    flow_01, flow_10 = (flow_to_size(flow, size) for flow in (flow_01, flow_10))
    trust0, difference0 = trust(small0, small1, flow_01, flow_10)
    trust1, difference1 = trust(small1, small0, flow_10, flow_01)
    difference = torch.cat((difference0, difference1), dim=1)
    return Flows(small0, small1, flow_01, flow_10, trust0, trust1, difference)


def trust(source: Tensor, target: Tensor, flow: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """Weigh each pixel by how well its flow leads to its own colour and back to its own place.

    Shapes: frames (B, 3, h, w), flows (B, 2, h, w) -> weight and difference, (B, 1, h, w).
    """
    difference = (source - backward_warp(target, flow)).abs().mean(dim=1, keepdim=True)
    missed = (flow + backward_warp(back, flow)).norm(dim=1, keepdim=True)
    missed = missed / (1 + 0.05 * flow.norm(dim=1, keepdim=True))  # long ways end less exactly
    return torch.exp((-20 * difference - missed).clamp(min=-20)), difference


def mixture(motion: Flows, time: Tensor) -> Mixture:
    """What to warp along which flow, and with which weights; they sum to one.

    Guesses are velocities: through each pixel at time t, the way from frame 0 to frame 1.
    """
    flow_01, flow_10 = motion.flow_01, motion.flow_10
    landed0, cover0 = landing(flow_01, time * flow_01, motion.trust0)
    landed1, cover1 = landing(-flow_10, (1 - time) * flow_10, motion.trust1)
    still = plausibility(motion, torch.zeros_like(flow_01), time)
    likely = {
        name: plausibility(motion, velocity, time)
        for name, velocity in (
            ("landed0", landed0),
            ("landed1", landed1),
            ("flow_01", flow_01),
            ("flow_10", -flow_10),
        )
    }
    share0, share1 = (1 - time) * cover0, time * cover1
    layers = [
        Layer(0, -time * landed0, share0 * likely["landed0"], "bicubic"),
        Layer(0, time * flow_10, share0 * likely["flow_10"], "bilinear"),
        Layer(1, (1 - time) * landed1, share1 * likely["landed1"], "bicubic"),
        Layer(1, (1 - time) * flow_01, share1 * likely["flow_01"], "bilinear"),
    ]
    layers = [x._replace(weight=x.weight * (inside(x.flow) + UNSEEN)) for x in layers]
    total = sum((x.weight for x in layers), share0 * still + share1 * still)
    layers = [x._replace(weight=x.weight / total) for x in layers]
    return Mixture(layers, share0 * still / total, share1 * still / total)


def mixed(mixture: Mixture, frame0: Tensor, frame1: Tensor) -> Tensor:
    """The frame at time t, from frames of any size. Shapes: (B, 3, H, W), all."""
    size = frame0.shape[-2:]
    frame = resize_to(mixture.still0, size) * frame0
    frame = frame.addcmul(resize_to(mixture.still1, size), frame1)
    for layer in mixture.layers:
        flow, weight = flow_to_size(layer.flow, size), resize_to(layer.weight, size)
        source = (frame0, frame1)[layer.source]
        frame = frame.addcmul(weight, backward_warp(source, flow, mode=layer.mode))
    return frame.clamp(0, 1)


def landing(velocity: Tensor, step: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Move velocities along a flow, and fill the holes that they leave.

    Shapes: velocity and step (B, 2, h, w), weight (B, 1, h, w) -> velocity where it lands, and
    the cover (B, 1, h, w): 1 where the frame shows what is seen there, little in its holes.
    """
    landed, _ = splat(velocity, step, weight, epsilon=1e-12)
    mass = splat_sum(torch.ones_like(weight), step)
    return fill_holes(landed, 2 * mass), (HIDDEN + 4 * mass).clamp(max=1)


def plausibility(motion: Flows, velocity: Tensor, time: Tensor) -> Tensor:
    """Score a guess by how well both frames agree around each pixel if that is the motion.

    Shapes: velocity (B, 2, h, w) -> (B, 1, h, w), inverse to the squared difference of colours.
    """
    flow_t0, flow_t1 = -time * velocity, (1 - time) * velocity
    difference = backward_warp(motion.small0, flow_t0) - backward_warp(motion.small1, flow_t1)
    seen = inside(flow_t0) * inside(flow_t1) + UNSEEN
    both = torch.cat((difference.abs().mean(dim=1, keepdim=True) * seen, seen), dim=1)
    around, seen = F.avg_pool2d(both, WINDOW, stride=1, padding=WINDOW // 2).split(1, dim=1)
    return (around / seen + NOISE) ** -2


def inside(flow: Tensor) -> Tensor:
    """1 where a flow points into the frame, falling to 0 half a pixel outside.

    Shapes: (B, 2, h, w) -> (B, 1, h, w).
    """
    height, width = flow.shape[-2:]
    x, y = pixel_grid(flow)
    x, y = x + flow[:, 0], y + flow[:, 1]
    margin = torch.minimum(torch.minimum(x, width - 1 - x), torch.minimum(y, height - 1 - y))
    return (1 + 2 * margin).clamp(0, 1)[:, None]


def flow_to_size(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a flow, its vectors with it; down, each is the mean of what it stands for.

    Shapes: (B, 2, H, W) -> (B, 2, *size).
    """
    height, width = flow.shape[-2:]
    ratio = flow.new_tensor((size[1] / width, size[0] / height)).view(1, 2, 1, 1)
    down = size[0] < height or size[1] < width
    resized = F.interpolate(flow, size=size, mode="area") if down else resize_to(flow, size)
    return resized * ratio
