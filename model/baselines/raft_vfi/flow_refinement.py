"""RAFT-VFI, stage 2: coarse-to-fine refinement of the flows between two frames."""

import torch
from torch import Tensor, nn

from sgm_vfi.model.baselines.raft_vfi.window_attention import WindowTransformer
from sgm_vfi.model.layers.conv import conv_prelu
from sgm_vfi.model.ops.resize import resize, resize_flow
from sgm_vfi.model.ops.warp import backward_warp


class ResidualConvs(nn.Sequential):
    """SynthesisOutput, added to what they are given."""

    def forward(self, features: Tensor) -> Tensor:
        """Shapes: (B, C, h, w) -> the same."""
        return features + super().forward(features)


class FlowCorrection(nn.Module):
    """Correction of both flows, estimated at a reduced resolution.

    Args:
        reduction: factor by which frames and flows are downscaled.
        channels: of the features, at 1/4 of that resolution.
        head: layers that downscale to the features.
        body: layers on the features.
    """

    def __init__(self, reduction: int, channels: int, head: nn.Module, *body: nn.Module) -> None:
        super().__init__()
        self.reduction = reduction
        self.body = nn.Sequential(head, *body)
        self.up = nn.ConvTranspose2d(channels, 4, kernel_size=4, stride=2, padding=1)
        self.output = nn.Conv2d(4, 4, kernel_size=3, padding=1)

    def forward(self, frames: Tensor, flow: Tensor) -> Tensor:
        """Shapes: frames and warped frames (B, 12, H, W), flow (B, 4, H, W) -> (B, 4, H, W)."""
        scale = 1 / self.reduction
        features = torch.cat((resize(frames, scale), resize_flow(flow, scale)), dim=1)
        correction = self.output(self.up(self.body(features)))
        return resize_flow(resize_flow(correction, 2), self.reduction)


class FlowRefinement(nn.ModuleList):
    """Three corrections at 1/4, 1/2 and full resolution, each added to the flows before it."""

    def __init__(self) -> None:
        super().__init__(
            (
                FlowCorrection(4, 128, head(128), residual(128, 3), residual(128, 3)),
                FlowCorrection(2, 64, head(64, 1), WindowTransformer(64), residual(64, 2)),
                FlowCorrection(1, 32, head(32, 1), WindowTransformer(32), residual(32, 2)),
            )
        )

    def forward(self, frame0: Tensor, frame1: Tensor, flow: Tensor) -> Tensor:
        """Shapes: frames (B, 3, H, W), flow_01 and flow_10 (B, 4, H, W) -> (B, 4, H, W)."""
        for correction in self:
            flow_01, flow_10 = flow.chunk(2, dim=1)
            warped = backward_warp(frame1, flow_01), backward_warp(frame0, flow_10)
            flow = flow + correction(torch.cat((frame0, frame1, *warped), dim=1), flow)
        return flow


def head(channels: int, further: int = 0) -> nn.Sequential:
    """Return layers from frames and flows to features at a quarter of the resolution."""
    return nn.Sequential(
        conv_prelu(16, channels // 2, stride=2),
        conv_prelu(channels // 2, channels, stride=2),
        *(conv_prelu(channels, channels) for _ in range(further)),
    )


def residual(channels: int, layers: int) -> ResidualConvs:
    """Return a residual block of `layers` convolutions."""
    return ResidualConvs(*(conv_prelu(channels, channels) for _ in range(layers)))
