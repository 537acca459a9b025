"""PerVFI, stage 4: asymmetric blending; frame 1 only fills the holes of frame 0."""

import torch
from torch import Tensor, nn

from sgm_vfi.model.baselines.pervfi.encoder_decoder import CHANNELS
from sgm_vfi.model.baselines.pervfi.splatting import SplattedFeatures

HIDDEN = 64
NOISE = 0.005  # amplitude of the noise added to the mask in training


class AsymmetricBlending(nn.Module):
    """One quasi-binary mask per level: 0 for frame 0, 1 for the aligned frame 1."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(QuasiBinaryMask(channels) for channels in CHANNELS)

    def forward(
        self, splatted: list[SplattedFeatures], aligned: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Shapes: maps (B, C, h, w), fine to coarse -> blended maps, and masks (B, 1, h, w)."""
        masks = [
            level(left.hole, left.features, right)
            for level, left, right in zip(self.levels, splatted, aligned, strict=True)
        ]
        blended = [
            torch.lerp(left.features, right, mask)
            for left, right, mask in zip(splatted, aligned, masks, strict=True)
        ]
        return blended, masks


class QuasiBinaryMask(nn.Module):
    """Mask that is exactly zero away from holes, since no layer that reads them has a bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = nn.Sequential(
            nn.Conv2d(1, HIDDEN, kernel_size=9, padding=4, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(HIDDEN, HIDDEN, kernel_size=3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(HIDDEN, HIDDEN, kernel_size=1, bias=False),
        )
        self.attend = nn.Conv2d(2 * channels, HIDDEN, kernel_size=3, padding=1)
        self.squeeze = nn.Sequential(
            nn.Linear(HIDDEN, HIDDEN // 8, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(HIDDEN // 8, HIDDEN, bias=False),
        )
        self.mask = nn.Conv2d(HIDDEN, 1, kernel_size=1, bias=False)

    def forward(self, hole: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """Shapes: hole (B, 1, h, w), left, right (B, C, h, w) -> (B, 1, h, w), in [0, 1)."""
        summary = self.attend(torch.cat((left, right), dim=1)).mean(dim=(2, 3))
        gain = self.squeeze(summary).sigmoid()[:, :, None, None]
        mask = self.mask(self.near(hole) * gain).abs().tanh()
        if self.training:
            mask = mask + torch.empty_like(mask).uniform_(-NOISE, NOISE)
        return mask
