"""PerVFI, stage 5: fusion of the blended levels (after HRNet, Sun et al., CVPR 2019; no norms)."""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.baselines.pervfi.encoder_decoder import CHANNELS

STEM = 64
WIDTHS = (32, 64, 96)  # of the branches, fine to coarse
EXPANSION = 4
MODULES = 2  # exchange units per stage


class MultiscaleFusion(nn.Module):
    """Turns the blended levels into conditions, each at half the resolution of its level."""

    def __init__(self) -> None:
        super().__init__()
        wide = EXPANSION * STEM
        self.stems = nn.ModuleList(conv_relu(channels, STEM) for channels in CHANNELS)
        self.bottlenecks = nn.Sequential(
            Bottleneck(STEM, STEM), *(Bottleneck(wide, STEM) for _ in range(3))
        )
        self.start = nn.ModuleList((conv_relu(wide, WIDTHS[0]), conv_relu(wide, WIDTHS[1], 2)))
        self.join1 = conv_relu(STEM + WIDTHS[1], WIDTHS[1])
        self.stage2 = nn.Sequential(*(ExchangeUnit(WIDTHS[:2]) for _ in range(MODULES)))
        self.descend = conv_relu(WIDTHS[1], WIDTHS[2], 2)
        self.join2 = conv_relu(STEM + WIDTHS[2], WIDTHS[2])
        self.stage3 = nn.Sequential(*(ExchangeUnit(WIDTHS) for _ in range(MODULES)))
        self.output = nn.ModuleList(
            nn.Conv2d(width, channels, kernel_size=3, stride=2, padding=1)
            for width, channels in zip(WIDTHS, CHANNELS, strict=True)
        )

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Shapes: (B, C, h, w) -> (B, C, h / 2, w / 2), for the 35, 64 and 96 channels."""
        stems = [stem(level) for stem, level in zip(self.stems, levels, strict=True)]
        x = self.bottlenecks(stems[0])
        branches = [start(x) for start in self.start]
        branches[1] = self.join1(torch.cat((stems[1], branches[1]), dim=1))
        branches = self.stage2(branches)
        coarsest = self.join2(torch.cat((stems[2], self.descend(branches[1])), dim=1))
        branches = self.stage3([*branches, coarsest])
        return [output(branch) for output, branch in zip(self.output, branches, strict=True)]


class ExchangeUnit(nn.Module):
    """Two residual blocks per branch, then every branch becomes the sum of all, resized."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(BasicBlock(width), BasicBlock(width)) for width in widths
        )
        self.change: Sequence[Sequence[BranchResize]] = cast(
            Any,
            nn.ModuleList(
                nn.ModuleList(BranchResize(widths[j], widths[i], i - j) for j in range(len(widths)))
                for i in range(len(widths))
            ),
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Shapes: (B, width, h, w) per branch -> the same."""
        branches = [own(branch) for own, branch in zip(self.branches, branches, strict=True)]
        outputs = []
        for row in self.change:
            total, *others = (change(x) for change, x in zip(row, branches, strict=True))
            for other in others:
                total = total + other
            outputs.append(total.relu_())
        return outputs


class BranchResize(nn.Sequential):
    """Converts a branch to the channels and size of another, which is `halvings` levels coarser."""

    def __init__(self, in_channels: int, out_channels: int, halvings: int) -> None:
        self.enlarged = 2 ** max(-halvings, 0)
        if halvings < 0:
            super().__init__(nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False))
            return
        between = (conv_relu(in_channels, in_channels, 2) for _ in range(halvings - 1))
        last = [conv(in_channels, out_channels, 2)] if halvings else []
        super().__init__(*between, *last)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, in_channels, h, w) -> (B, out_channels, h / 2^halvings, ...)."""
        x = super().forward(x)
        return F.interpolate(x, scale_factor=self.enlarged) if self.enlarged > 1 else x


class BasicBlock(nn.Module):
    """Residual block of two 3 x 3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels)
        self.conv2 = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, C, h, w) -> the same."""
        return (x + self.conv2(self.conv1(x).relu_())).relu_()


class Bottleneck(nn.Module):
    """Residual block of 1 x 1, 3 x 3 and 1 x 1 convolutions; widens to 4 x channels."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        out_channels = EXPANSION * channels
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.conv2 = conv(channels, channels)
        self.conv3 = nn.Conv2d(channels, out_channels, kernel_size=1, bias=False)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, in_channels, h, w) -> (B, 4 * channels, h, w)."""
        y = self.conv3(self.conv2(self.conv1(x).relu_()).relu_())
        return (y + (x if self.shortcut is None else self.shortcut(x))).relu_()


def conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3 x 3 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def conv_relu(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Return a 3 x 3 convolution without bias, followed by a ReLU."""
    return nn.Sequential(conv(in_channels, out_channels, stride), nn.ReLU(inplace=True))
