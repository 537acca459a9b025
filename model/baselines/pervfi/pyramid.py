"""PerVFI, step 1: features of a frame, and how much each of its pixels is to be trusted."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.layers.prelu import PReLU
from sgm_vfi.model.ops.warp import backward_warp

CHANNELS = (35, 64, 96)  # of full, half and quarter size; the first three are the frame itself
METRIC_CHANNELS = (16, 32, 64, 96)


class Encoder(nn.Module):
    """Three levels of features, the frame included."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            (_two_convs(3, 32), _two_convs(32, 64, stride=2), _two_convs(64, 96, stride=2))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Shapes: image (B, 3, H, W) in [-1, 1] -> 35, 64 and 96 channels, each half the size."""
        levels, x = [], image
        for level in self.levels:
            x = level(x)
            levels.append(x)
        return [torch.cat((image, levels[0]), dim=1), *levels[1:]]


class SplatMetric(nn.Module):
    """A U-Net that sees a frame and where its flow is wrong: what is to be in front.

    Rows of it are half the size of the one before; each has one column on the way down and one on
    the way up.
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
        """Shapes: finest features (B, 35, H, W) of both frames, flow (B, 2, H, W) between them
        -> (B, 1, H, W); the lower, the more it is in front.
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


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def _two_convs(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        _conv(in_channels, out_channels, stride),
        PReLU(out_channels),
        _conv(out_channels, out_channels),
        PReLU(out_channels),
    )


def _preactivated(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        PReLU(in_channels),
        _conv(in_channels, out_channels, stride),
        PReLU(out_channels),
        _conv(out_channels, out_channels),
    )
