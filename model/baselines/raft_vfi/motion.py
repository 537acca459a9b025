"""Motion at a time between two frames: how far everything has come, seen from there.

Acceleration and reversal follow QVI (Xu et al., NeurIPS 2019), as RAFT-VFI has them (Apache-2.0).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.splat import gaussian, splat_sum

SMALLER = 3  # times: the size at which flows are reversed
MEAN_OVER = 7  # pixels of that size, each way: what fills a hole is a mean of its surroundings


def advanced(flow: Tensor, time: Tensor, backwards: Tensor | None = None) -> Tensor:
    """The way that each pixel has gone by `time`, of its way `flow` until time 1.

    Without `backwards`, where it was at time -1, it goes at one speed; with it, the speed changes
    steadily, so that it was there at -1, is here at 0, and will be at the end of `flow` at 1.

    Shapes: flows (B, 2, H, W), time (B, 1, 1, 1) -> (B, 2, H, W).
    """
    if backwards is None:
        return time * flow
    return ((time + time**2) * flow - (time - time**2) * backwards) / 2


def reversed_flow(flow: Tensor) -> Tensor:
    """The flow that leads back to where each pixel of the other end came from.

    Found at a third of the size, where every pixel is moved along its flow and leaves it there;
    where none arrives, the surroundings say.

    Shapes: (B, 2, H, W) -> (B, 2, H, W).
    """
    height, width = flow.shape[-2:]
    small = flow[..., ::SMALLER, ::SMALLER][..., : height // SMALLER, : width // SMALLER] / SMALLER
    arrived, weight = arrivals(small)
    back = fill_holes(-arrived / torch.where(weight > 0, weight, 1), weight, -small)
    return F.interpolate(back, size=(height, width), mode="nearest") * SMALLER


def arrivals(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the flows that lead to each pixel, and of the weights that they come with.

    Where no gradient is kept, the same bits on every run, on GPUs too.

    Shapes: (B, 2, H, W) -> (B, 2, H, W) and (B, 1, H, W).
    """
    both = torch.cat((flow, torch.ones_like(flow[:, :1])), dim=1)
    exact = flow.is_cuda and not torch.is_grad_enabled()  # elsewhere the order is always the same
    moved = splat_sum(both, flow, kernel=gaussian, deterministic=exact)
    return moved[:, :2], moved[:, 2:]


def fill_holes(flow: Tensor, weight: Tensor, guess: Tensor) -> Tensor:
    """Where no weight arrived, put the smoothed mean of a field in which holes hold a guess.

    Shapes: flow and guess (B, 2, H, W), weight (B, 1, H, W) -> (B, 2, H, W).
    """
    flow = torch.where(weight == 0, guess, flow)
    height, width = flow.shape[-2:]
    mean = F.avg_pool2d(flow, MEAN_OVER, stride=1, padding=MEAN_OVER // 2)
    coarse = F.interpolate(mean, size=(height // 4, width // 4), mode="bilinear")
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear")
    return torch.where(weight == 0, smooth, flow)
