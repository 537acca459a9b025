"""RAFT-VFI, stage 3: flows from time t to both frames, from the flows between the frames.

Acceleration and flow reversal follow QVI (Xu et al., Quadratic Video Interpolation, NeurIPS 2019).
Flows are in pixels, (u, v).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.splat import gaussian, splat_sum

REDUCTION = 3  # flows are reversed at 1/3 of their resolution
WINDOW = 7  # pixels of that resolution, each way, whose mean fills a hole


def displacement_at(flow: Tensor, time: Tensor, backward: Tensor | None = None) -> Tensor:
    """Return the displacement of each pixel at `time`, given its displacement `flow` at time 1.

    Linear in time; with the displacement `backward` at time -1, quadratic through all three.

    Shapes: flows (B, 2, H, W), time (B, 1, 1, 1) -> (B, 2, H, W).
    """
    if backward is None:
        return time * flow
    return ((time + time**2) * flow - (time - time**2) * backward) / 2


def reverse_flow(flow: Tensor) -> Tensor:
    """Return the flow from where pixels land back to where they started.

    The negative flow is splatted along itself, at 1/3 resolution; holes are filled from their
    neighbours.

    Shapes: (B, 2, H, W) -> (B, 2, H, W).
    """
    height, width = flow.shape[-2:]
    small = flow[..., ::REDUCTION, ::REDUCTION]
    small = small[..., : height // REDUCTION, : width // REDUCTION] / REDUCTION
    total, weight = splat_flow(small)
    back = fill_from_neighbours(-total / torch.where(weight > 0, weight, 1), weight, -small)
    return F.interpolate(back, size=(height, width), mode="nearest") * REDUCTION


def splat_flow(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Splat a flow along itself with a Gaussian kernel; return the sums of flows and weights.

    Deterministic on GPUs if no gradient is recorded.

    Shapes: (B, 2, H, W) -> (B, 2, H, W) and (B, 1, H, W).
    """
    both = torch.cat((flow, torch.ones_like(flow[:, :1])), dim=1)
    deterministic = flow.is_cuda and not torch.is_grad_enabled()  # CPUs always are
    total = splat_sum(both, flow, kernel=gaussian, deterministic=deterministic)
    return total[:, :2], total[:, 2:]


def fill_from_neighbours(flow: Tensor, weight: Tensor, fallback: Tensor) -> Tensor:
    """Fill pixels of zero weight with a smooth local mean, in which they count as `fallback`.

    Shapes: flow and fallback (B, 2, H, W), weight (B, 1, H, W) -> (B, 2, H, W).
    """
    flow = torch.where(weight == 0, fallback, flow)
    height, width = flow.shape[-2:]
    mean = F.avg_pool2d(flow, WINDOW, stride=1, padding=WINDOW // 2)
    coarse = F.interpolate(mean, size=(height // 4, width // 4), mode="bilinear")
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear")
    return torch.where(weight == 0, smooth, flow)
