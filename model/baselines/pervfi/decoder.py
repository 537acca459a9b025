"""PerVFI-vb, step 6: the picture by plain convolutions: faster than by a flow, less sharp."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.baselines.pervfi.pyramid import CHANNELS
from sgm_vfi.model.layers.prelu import PReLU


class Decoder(nn.Module):
    """Coarse to fine over the conditions."""

    def __init__(self) -> None:
        super().__init__()
        fine, half, coarse = CHANNELS
        self.coarse = DecoderBlock(coarse, 128, half)
        self.middle = DecoderBlock(2 * half, 256, fine)
        self.fine = DecoderBlock(2 * fine, 96, 128)
        self.output = nn.Conv2d(32, 3, kernel_size=3, padding=1)

    def forward(self, conditions: Sequence[Tensor]) -> Tensor:
        """Shapes: (B, 35, H/2, W/2), (B, 64, H/4, W/4), (B, 96, H/8, W/8) -> (B, 3, H, W)."""
        fine, half, coarse = conditions
        x = _enlarge(self.coarse(coarse))
        x = _enlarge(self.middle(torch.cat((x, half), dim=1)))
        x = self.fine(torch.cat((x, fine), dim=1))
        return self.output(F.pixel_shuffle(x, 2))


class DecoderBlock(nn.Module):
    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(in_channels, hidden, kernel_size=3, padding=1, bias=False),
            PReLU(hidden),
            nn.Conv2d(hidden, out_channels, kernel_size=3, padding=1, bias=False),
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)


def _enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
