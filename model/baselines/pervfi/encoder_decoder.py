"""PerVFI, stages 1 and 6 (vb): the feature encoder, and the decoder without a normalizing flow."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.layers.prelu import PReLU

CHANNELS = (35, 64, 96)  # at 1, 1/2 and 1/4 of the resolution; the first three are the frame itself


class PerVFIEncoder(nn.Module):
    """Feature pyramid of three levels."""

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


class PerVFIDecoder(nn.Module):
    """Plain convolutional decoder of PerVFI-vb: faster than the normalizing flow, less sharp."""

    def __init__(self) -> None:
        super().__init__()
        fine, half, coarse = CHANNELS
        self.coarse = PerVFIDecoderBlock(coarse, 128, half)
        self.middle = PerVFIDecoderBlock(2 * half, 256, fine)
        self.fine = PerVFIDecoderBlock(2 * fine, 96, 128)
        self.output = nn.Conv2d(32, 3, kernel_size=3, padding=1)

    def forward(self, conditions: Sequence[Tensor]) -> Tensor:
        """Shapes: (B, 35, H/2, W/2), (B, 64, H/4, W/4), (B, 96, H/8, W/8) -> (B, 3, H, W)."""
        fine, half, coarse = conditions
        x = _upsample(self.coarse(coarse))
        x = _upsample(self.middle(torch.cat((x, half), dim=1)))
        x = self.fine(torch.cat((x, fine), dim=1))
        return self.output(F.pixel_shuffle(x, 2))


class PerVFIDecoderBlock(nn.Module):
    """Two convolutions with a 1 x 1 shortcut. Shapes: (B, in_channels, h, w) -> (B, out, h, w)."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(in_channels, hidden, kernel_size=3, padding=1, bias=False),
            PReLU(hidden),
            nn.Conv2d(hidden, out_channels, kernel_size=3, padding=1, bias=False),
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block's output."""
        return self.main(x) + self.shortcut(x)


def _upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _two_convs(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        PReLU(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        PReLU(out_channels),
    )
