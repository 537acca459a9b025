"""Step 3 of SGM-VFI: merge local flow and matches, then refine the result."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.layers.prelu import PReLU
from sgm_vfi.model.ops.cat_channels import cat_channels
from sgm_vfi.model.ops.resize import resize, resize_flow
from sgm_vfi.model.ops.warp import warp_pair
from sgm_vfi.model.sgm.flow_head import FlowHead


class FlowMerge(nn.Module):
    """Choose, cell by cell, between the local flow and its global compensation.

    A softmax over both flows' 3 x 3 neighbourhoods makes the result a convex combination of
    candidates, so merging never invents a motion that neither branch proposed. Outside the map
    the candidates are zero, as published.

    Shapes: local, compensated (B, 4, h, w), features (B, C, h, w) -> (B, 4, h, w), where the
    four channels are (u, v) towards frame 0 and (u, v) towards frame 1.
    """

    def __init__(self, feature_channels: int, hidden_channels: int = 256, window: int = 3) -> None:
        super().__init__()
        self.window = window
        first = nn.Conv2d(feature_channels + 8, hidden_channels, kernel_size=3, padding=1)
        last = nn.Conv2d(hidden_channels, 2 * 2 * window**2, kernel_size=1)
        self.logits = nn.Sequential(first, PReLU(hidden_channels), last)
        for layer in (first, last):
            fan_out = math.prod(layer.kernel_size) * layer.out_channels
            nn.init.normal_(layer.weight, std=math.sqrt(0.1 / fan_out))  # nearly uniform at first
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, local: Tensor, compensated: Tensor, features: Tensor) -> Tensor:
        """Return the merged flow."""
        logits = self.logits(cat_channels((local, compensated, features)))
        weights = logits.unflatten(1, (2, 1, -1)).softmax(dim=3)  # (B, 2, 1, 2K, h, w)
        candidates = torch.cat((self.neighbours(local), self.neighbours(compensated)), dim=3)
        return (weights * candidates).sum(dim=3).flatten(1, 2)

    def neighbours(self, flow: Tensor) -> Tensor:
        """(B, 4, h, w) -> (B, 2 directions, 2 components, K = window ** 2, h, w)."""
        patches = F.unfold(flow, self.window, padding=self.window // 2)
        return patches.view(-1, 2, 2, self.window**2, *flow.shape[-2:])


class FlowMatching(nn.Module):
    """Trained part of the matching branch: the merge and the refinement after it."""

    def __init__(self, channels: int, feature_channels: int) -> None:
        super().__init__()
        self.merge = FlowMerge(feature_channels)
        self.refine = FlowHead(27, channels=4 * channels, residual_convs=1)


def refine_input(
    frames: Tensor, warped: Tensor, flow: Tensor, blend_logits: Tensor, merged_flow: Tensor
) -> Tensor:
    """Concatenate the inputs of the head after the merge, all at 1/8.

    Shapes: frames, warped (2B, 3, H, W), both frames on the batch axis, flow (B, 4, H, W),
    blend_logits (B, 1, H, W), merged_flow (B, 4, h, w) in pixels of 1/8 -> (B, 27, h, w).
    """
    small, small_warped = resize(frames, 1 / 8), resize(warped, 1 / 8)
    rewarped = warp_pair(small, merged_flow)
    return cat_channels(
        (
            *small.chunk(2),
            *small_warped.chunk(2),
            resize(blend_logits, 1 / 8),
            resize_flow(flow, 1 / 8),
            *rewarped.chunk(2),
            merged_flow,
        )
    )
