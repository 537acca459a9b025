"""PerVFI, step 2: frame 0 moved to time t, where it leaves holes, and the flow back to frame 1."""

from typing import NamedTuple

import torch
from torch import Tensor

from sgm_vfi.model.ops.resize import resize_to
from sgm_vfi.model.ops.splat import splat, splat_sum

LARGEST_METRIC = 20.0  # either way: its exponential still fits float32 sums
EPSILON = 1e-7


class Moved(NamedTuple):
    """One level of frame 0 at time t."""

    features: Tensor  # (B, C, h, w)
    hole: Tensor  # 1 where nothing of frame 0 landed, else 0; (B, 1, h, w)


def move(levels: list[Tensor], flow: Tensor, metric: Tensor) -> list[Moved]:
    """Splat features along a flow, level by level.

    Metric and flow of a level are those of the level before, at half the size.

    Shapes: levels (B, C, h, w), each half the size; flow (B, 2, H, W), metric (B, 1, H, W).
    """
    moved = []
    for features in levels:
        flow, metric = scaled_flow(flow, features), _resized(metric, features)
        here, _ = splat(features, flow, weight(metric), epsilon=EPSILON)
        moved.append(Moved(here, holes(flow)))
    return moved


def holes(flow: Tensor) -> Tensor:
    """1 where nothing lands along a flow, else 0. Shapes: (B, 2, H, W) -> (B, 1, H, W)."""
    landed = splat_sum(torch.ones_like(flow[:, :1]), flow)
    return (landed <= EPSILON).to(flow.dtype)


def flow_back(flow: Tensor, metric: Tensor) -> Tensor:
    """The flow from time t back to the frame that `flow` brings to it.

    Shapes: flow (B, 2, H, W), metric (B, 1, H, W) -> (B, 2, H, W), in pixels; 0 in holes.
    """
    return -splat(flow, flow, weight(metric), epsilon=EPSILON)[0]


def weight(metric: Tensor) -> Tensor:
    """The weight of a pixel where several land: the lower its metric, the larger."""
    return (-metric).clamp(-LARGEST_METRIC, LARGEST_METRIC).exp()


def scaled_flow(flow: Tensor, like: Tensor) -> Tensor:
    """The flow at the size of `like`, both components by the ratio of heights, as published."""
    return _resized(flow, like) * (like.shape[-2] / flow.shape[-2])


def _resized(tensor: Tensor, like: Tensor) -> Tensor:
    same = tensor.shape[-2:] == like.shape[-2:]
    return tensor if same else resize_to(tensor, like.shape[-2:])
