"""PerVFI, stages 2 and 3: a splatting metric per pixel, and frame 0 splatted to time t.

Softmax splatting (Niklaus and Liu, CVPR 2020). Flows are in pixels of the map that they belong to.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.layers.prelu import PReLU
from sgm_vfi.model.ops.resize import resize_to
from sgm_vfi.model.ops.splat import splat, splat_sum
from sgm_vfi.model.ops.warp import backward_warp

METRIC_CHANNELS = (16, 32, 64, 96)
LARGEST_METRIC = 20.0  # in magnitude: its exponential still fits float32 sums
EPSILON = 1e-7


class SplattedFeatures(NamedTuple):
    """One pyramid level of frame 0 at time t."""

    features: Tensor  # (B, C, h, w)
    hole: Tensor  # 1 where no pixel of frame 0 lands, else 0; (B, 1, h, w)


class SplatMetric(nn.Module):
    """U-Net that estimates the depth order of pixels from a frame and its warping error.

    Each row of the U-Net has half the resolution of the one before, with one column on the way
    down and one on the way up.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = METRIC_CHANNELS
        steps = list(pairwise(widths))
        self.image = _conv(3, 12)
        self.error = _conv(1, 4)
        self.down = nn.ModuleList(_preactivated(a, b, stride=2) for a, b in steps)
        self.across = nn.ModuleList(_preactivated(a, a) for a in widths)
        self.up = nn.ModuleList(_preactivated(b, a) for a, b in steps)
        self.output = nn.Sequential(
            _conv(widths[0], widths[0]), PReLU(widths[0]), _conv(widths[0], 1)
        )
        self.shortcut = nn.Conv2d(widths[0], 1, kernel_size=1, bias=False)

    def forward(self, own: Tensor, other: Tensor, flow: Tensor) -> Tensor:
        """Estimate the metric; lower values are in front.

        Shapes: finest features (B, 35, H, W) of both frames, flow (B, 2, H, W) -> (B, 1, H, W).
        """
        warped = backward_warp(other, flow, padding="zeros")
        error = (own - warped).abs().mean(dim=1, keepdim=True)
        rows = [torch.cat((self.image(own[:, :3]), self.error(error)), dim=1)]
        for down in self.down:
            rows.append(down(rows[-1]))
        rows = [row + across(row) for row, across in zip(rows, self.across, strict=True)]
        x = rows[-1]
        for row, up in zip(reversed(rows[:-1]), reversed(self.up), strict=True):
            height, width = row.shape[-2:]
            larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = row + up(larger[..., :height, :width])
        return self.output(x) + self.shortcut(x)


def splat_features(levels: list[Tensor], flow: Tensor, metric: Tensor) -> list[SplattedFeatures]:
    """Splat a feature pyramid along a flow; metric and flow are resized from level to level.

    Shapes: levels (B, C, h, w), each half the size; flow (B, 2, H, W), metric (B, 1, H, W).
    """
    splatted = []
    for features in levels:
        flow, metric = resize_flow_like(flow, features), _resize_like(metric, features)
        landed, _ = splat(features, flow, splat_weight(metric), epsilon=EPSILON)
        splatted.append(SplattedFeatures(landed, find_holes(flow)))
    return splatted


def find_holes(flow: Tensor) -> Tensor:
    """Return 1 where no pixel lands along a flow, else 0. Shapes: (B, 2, H, W) -> (B, 1, H, W)."""
    landed = splat_sum(torch.ones_like(flow[:, :1]), flow)
    return (landed <= EPSILON).to(flow.dtype)


def splat_flow_back(flow: Tensor, metric: Tensor) -> Tensor:
    """Return the flow from time t to the frame from which `flow` leads to time t; 0 in holes.

    Shapes: flow (B, 2, H, W), metric (B, 1, H, W) -> (B, 2, H, W).
    """
    return -splat(flow, flow, splat_weight(metric), epsilon=EPSILON)[0]


def splat_weight(metric: Tensor) -> Tensor:
    """Return the softmax weight of each pixel: the lower its metric, the larger."""
    return (-metric).clamp(-LARGEST_METRIC, LARGEST_METRIC).exp()


def resize_flow_like(flow: Tensor, like: Tensor) -> Tensor:
    """Resize a flow; as published, both components are scaled by the ratio of the heights."""
    return _resize_like(flow, like) * (like.shape[-2] / flow.shape[-2])


def _resize_like(tensor: Tensor, like: Tensor) -> Tensor:
    same = tensor.shape[-2:] == like.shape[-2:]
    return tensor if same else resize_to(tensor, like.shape[-2:])


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def _preactivated(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        PReLU(in_channels),
        _conv(in_channels, out_channels, stride),
        PReLU(out_channels),
        _conv(out_channels, out_channels),
    )
