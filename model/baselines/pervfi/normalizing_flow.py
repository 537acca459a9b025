"""PerVFI, stage 6: a conditional normalizing flow that generates the picture.

An invertible network: `encode` turns a picture into noise and computes its likelihood, `decode`
turns noise into a picture; both are conditioned on features of the frames. After Glow (Kingma and
Dhariwal, NeurIPS 2018).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.baselines.pervfi.encoder_decoder import CHANNELS

STEPS = 16  # per block
HIDDEN = 64
LEVELS = 255  # of an 8-bit sample
LOG_2PI = math.log(2 * math.pi)


class EncodedPicture(NamedTuple):
    """A picture encoded as noise."""

    latents: list[Tensor]  # as the blocks give them; not what `decode` takes
    noise: list[Tensor]  # the latents normalised by the prior; `decode` inverts it
    log_likelihood: Tensor  # of the picture, in nats, (B,)


class ConditionalNormalizingFlow(nn.Module):
    """Three blocks, each at half the size of the one before; the first two split off half.

    Pictures are (B, 3, H, W) in [-1, 1]; H and W are multiples of 8.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks: Sequence[FlowBlock] = cast(
            Any,
            nn.ModuleList(
                (
                    FlowBlock(12, CHANNELS[0], splits=True),
                    FlowBlock(24, CHANNELS[1], splits=True),
                    FlowBlock(48, CHANNELS[2], splits=False),
                )
            ),
        )

    def encode(self, picture: Tensor, conditions: Sequence[Tensor]) -> EncodedPicture:
        """Encode a picture. Shapes: (B, 3, H, W), conditions at 1/2, 1/4 and 1/8 of its size."""
        latents, noise = [], []
        total = picture.new_zeros(len(picture))
        x = picture
        for block, condition in zip(self.blocks, conditions, strict=True):
            x, log_volume = block.encode(x, condition)
            x, latent = x.chunk(2, dim=1) if block.splits else (torch.zeros_like(x), x)
            mean, log_deviation = block.prior(x).chunk(2, dim=1)
            standard = (latent - mean) * torch.exp(-log_deviation)
            likelihood = -0.5 * LOG_2PI - log_deviation - 0.5 * standard.square()
            total = total + log_volume + likelihood.sum(dim=(1, 2, 3))
            latents.append(latent)
            noise.append(standard)
        return EncodedPicture(latents, noise, total)

    def bits_per_pixel(
        self, picture: Tensor, conditions: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the negative log-likelihood in bits per pixel, and the deviation of all latents.

        In training mode uniform noise dequantises the picture, so that likelihoods stay finite.

        Shapes: as `encode` -> (B,), ().
        """
        pixels = picture.shape[2] * picture.shape[3]
        levels = 0.0
        if self.training:
            picture = picture + torch.empty_like(picture).uniform_(-0.5, 0.5) / LEVELS
            levels = math.log(LEVELS) * pixels
        encoded = self.encode(picture, conditions)
        deviation = torch.cat([latent.flatten() for latent in encoded.latents]).std()
        return (levels - encoded.log_likelihood) / (math.log(2) * pixels), deviation.detach()

    def decode(self, noise: Sequence[Tensor], conditions: Sequence[Tensor]) -> Tensor:
        """Decode noise. Shapes: noise and conditions as for `encode` -> (B, 3, H, W)."""
        x: Tensor | None = None
        levels = list(zip(self.blocks, noise, conditions, strict=True))
        for block, fresh, condition in reversed(levels):
            known = torch.zeros_like(fresh) if x is None else x
            mean, log_deviation = block.prior(known).chunk(2, dim=1)
            latent = mean + torch.exp(log_deviation) * fresh
            x = latent if x is None else torch.cat((x, latent), dim=1)
            x = block.decode(x, condition)
        assert x is not None
        return x

    @torch.no_grad()
    def initialize(self, picture: Tensor, conditions: Sequence[Tensor]) -> None:
        """Initialise every ActNorm from a batch; once, before training."""
        norms = [module for module in self.modules() if isinstance(module, ActNorm)]
        hooks = [norm.register_forward_pre_hook(lambda m, x: m.initialize(*x)) for norm in norms]
        try:
            self.encode(picture, conditions)
        finally:
            for hook in hooks:
                hook.remove()


def noise_shapes(height: int, width: int) -> list[tuple[int, int, int]]:
    """Return the shape (C, h, w) of the noise of one picture, block by block."""
    return [(channels, height // by, width // by) for channels, by in ((6, 2), (12, 4), (48, 8))]


class FlowBlock(nn.Module):
    """Moves 2 x 2 pixels into channels, mixes them, and runs 16 conditioned steps."""

    def __init__(self, channels: int, condition: int, *, splits: bool) -> None:
        super().__init__()
        self.splits = splits
        kept = channels // 2 if splits else channels
        self.mix = InvertibleConv1x1(channels)
        self.steps: Sequence[FlowStep] = cast(
            Any, nn.ModuleList(FlowStep(channels, condition) for _ in range(STEPS))
        )
        self.prior = ZeroConv(kept, 2 * kept)

    def encode(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: (B, C, H, W) -> (B, 4C, H/2, W/2), log-determinant (B,)."""
        x, log_volume = self.mix(F.pixel_unshuffle(x, 2))
        for step in self.steps:
            x, more = step(x, condition)
            log_volume = log_volume + more
        return x, log_volume

    def decode(self, x: Tensor, condition: Tensor) -> Tensor:
        """Invert `encode`. Shapes: (B, 4C, H/2, W/2) -> (B, C, H, W)."""
        matrices = torch.stack([self.mix.matrix, *(step.mix.matrix for step in self.steps)])
        inverses = list(torch.linalg.inv(matrices.double()).to(x.dtype))  # of all at once
        for step in reversed(self.steps):
            x = step.mix.undo(step.coupling.undo(x, condition), inverses.pop())
        return F.pixel_shuffle(self.mix.undo(x, inverses.pop()), 2)


class FlowStep(nn.Module):
    """A 1 x 1 convolution and a coupling layer."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.mix = InvertibleConv1x1(channels)
        self.coupling = AffineCoupling(channels, condition)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: (B, C, h, w) -> (B, C, h, w), log-determinant (B,)."""
        x, log_volume = self.mix(x)
        x, more = self.coupling(x, condition)
        return x, log_volume + more


class ActNorm(nn.Module):
    """A learned shift and scale per channel, initialised from a batch."""

    initialized: Tensor  # 1 once it is initialised, uint8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, C, h, w) -> the same."""
        return (self.log_scale.exp() + 1e-8) * (x + self.shift)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Give every channel of this batch mean 0 and deviation 1."""
        deviation, mean = torch.std_mean(x, dim=(0, 2, 3), keepdim=True)
        self.shift.copy_(-mean)
        self.log_scale.copy_(torch.log(1 / (deviation + 1e-6) + 1e-6))
        self.initialized.fill_(1)


class InvertibleConv1x1(nn.Module):
    """An ActNorm and an invertible 1 x 1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ActNorm(channels)
        matrix = nn.init.orthogonal_(torch.empty(channels, channels))
        self.weight = nn.Parameter(matrix[:, :, None, None])

    @property
    def matrix(self) -> Tensor:
        """The weight as a matrix, (C, C)."""
        return self.weight[:, :, 0, 0]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: (B, C, h, w) -> (B, C, h, w), log-determinant ()."""
        pixels = x.shape[2] * x.shape[3]
        log_volume = torch.linalg.slogdet(self.matrix.double()).logabsdet.to(x.dtype)
        log_volume = pixels * (log_volume + self.norm.log_scale.sum())
        return F.conv2d(self.norm(x), self.weight), log_volume

    def undo(self, x: Tensor, inverse: Tensor) -> Tensor:
        """Invert `forward`, given the inverse of the matrix."""
        scaled = inverse * (-self.norm.log_scale[0, :, :, 0]).exp()
        return F.conv2d(x, scaled[:, :, None, None], -self.norm.shift.flatten())


class AffineCoupling(nn.Module):
    """Shifts and scales half of the channels by a function of the other half and the condition."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.scale_shift = nn.Parameter(torch.zeros(1))
        self.affine = nn.Sequential(
            nn.Conv2d(channels // 2 + condition, HIDDEN, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(HIDDEN, HIDDEN, kernel_size=1),
            nn.ReLU(inplace=True),
            ZeroConv(HIDDEN, channels),
        )

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: (B, C, h, w) -> (B, C, h, w), log-determinant (B,)."""
        changed, kept = x.chunk(2, dim=1)
        shift, log_scale = self._shift_and_scale(kept, condition)
        changed = changed * log_scale.exp() + shift
        return torch.cat((changed, kept), dim=1), log_scale.sum(dim=(1, 2, 3))

    def undo(self, x: Tensor, condition: Tensor) -> Tensor:
        """Invert `forward`."""
        changed, kept = x.chunk(2, dim=1)
        shift, log_scale = self._shift_and_scale(kept, condition)
        return torch.cat(((changed - shift) * (-log_scale).exp(), kept), dim=1)

    def _shift_and_scale(self, kept: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.affine(torch.cat((kept, condition), dim=1)).chunk(2, dim=1)
        return shift, self.scale * raw.tanh() + self.scale_shift


class ZeroConv(nn.Module):
    """A 3 x 3 convolution that is initialised to zero, with a learned gain per channel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        for parameter in self.conv.parameters():
            nn.init.zeros_(parameter)
        self.scale = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, in_channels, h, w) -> (B, out_channels, h, w)."""
        return self.conv(x) * (3 * self.scale).exp()
