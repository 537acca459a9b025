"""PerVFI, stage 3: frame 1 aligned to frame 0 at time t, by deformable convolution."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.baselines.pervfi.encoder_decoder import CHANNELS
from sgm_vfi.model.baselines.pervfi.splatting import SplattedFeatures, resize_flow_like

GROUPS = (7, 8, 8)  # of channels that share their offsets, by level
TAPS = 9
SLOPE = 0.1


class AlignedFeatures(NamedTuple):
    """Output of one level, which the next finer level takes."""

    offset: Tensor
    features: Tensor
    merged: Tensor


class DeformableAlignment(nn.Module):
    """Coarse-to-fine alignment of the features of frame 1, merged with those of frame 0."""

    def __init__(self) -> None:
        super().__init__()
        coarser = (*CHANNELS[1:], 0)
        self.levels = nn.ModuleList(
            AlignmentLevel(n, c, g) for n, c, g in zip(CHANNELS, coarser, GROUPS, strict=True)
        )

    def forward(
        self, splatted: list[SplattedFeatures], levels: list[Tensor], flow: Tensor
    ) -> list[Tensor]:
        """Align the features of frame 1 to time t.

        Shapes: levels of both frames, fine to coarse; flow (B, 2, H, W) from time t to frame 1
        -> one map per level, of its channels.
        """
        aligned: list[AlignedFeatures] = []  # coarse first
        for level, left, right in zip(
            reversed(self.levels), reversed(splatted), reversed(levels), strict=True
        ):
            above = aligned[-1] if aligned else None
            aligned.append(level(left, right, resize_flow_like(flow, right), above))
        return [each.merged for each in reversed(aligned)]


class AlignmentLevel(nn.Module):
    """Alignment at one level; all but the coarsest also take the output of the coarser level."""

    def __init__(self, channels: int, above: int, groups: int) -> None:
        super().__init__()
        self.offset1 = _conv(2 * channels + 3, channels)
        self.offset2 = _conv(channels + above, channels)
        self.offset3 = _conv(channels, channels) if above else nn.Identity()
        self.deform = DeformableConv(channels, groups)
        self.features = _conv(channels + above, channels) if above else nn.Identity()
        self.merge1 = _conv(2 * channels + 1, channels)
        self.merge2 = _conv(channels + above, channels) if above else nn.Identity()

    def forward(
        self, left: SplattedFeatures, right: Tensor, flow: Tensor, above: AlignedFeatures | None
    ) -> AlignedFeatures:
        """Shapes: left, right (B, C, h, w), flow (B, 2, h, w) -> (B, C, h, w), three times."""
        inputs = torch.cat((left.features, right, left.hole, flow), dim=1)
        offset = _leaky(self.offset1(inputs))
        if above is None:
            offset = _leaky(self.offset2(offset))
            features = self.deform(right, offset)
        else:
            coarse = 2 * _upsample(above.offset)  # pixels of the finer level
            offset = _leaky(self.offset2(torch.cat((offset, coarse), dim=1)))
            offset = _leaky(self.offset3(offset))
            coarse = _upsample(_leaky(above.features))
            features = self.features(torch.cat((self.deform(right, offset), coarse), dim=1))
        merged = self.merge1(torch.cat((left.features, features, left.hole), dim=1))
        if above is not None:
            merged = self.merge2(torch.cat((merged, _upsample(above.merged)), dim=1))
        return AlignedFeatures(offset, features, merged)


class DeformableConv(nn.Module):
    """Modulated deformable 3 x 3 convolution whose offsets come from other features."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.offset = _conv(channels, 3 * TAPS * groups)
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)
        self.conv = _conv(channels, channels)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Shapes: x, guide (B, C, h, w) -> (B, C, h, w)."""
        from torchvision.ops import deform_conv2d

        offset = self.offset(guide)
        mask_from = 2 * offset.shape[1] // 3
        return deform_conv2d(
            x,
            offset[:, :mask_from],
            self.conv.weight,
            self.conv.bias,
            padding=1,
            mask=offset[:, mask_from:].sigmoid(),
        )


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
