"""RAFT-VFI, stage 4: filtered flows, a visibility mask and a static mask; warping and blending.

The adaptive flow filter follows QVI (Xu et al., NeurIPS 2019).
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sgm_vfi.model.ops.warp import backward_warp

SLOPE = 0.1
REACH = 10  # pixels: largest distance at which the flow filter reads


class SynthesisOutput(NamedTuple):
    """Flows and masks from which a frame is composed."""

    flow_t0: Tensor  # (B, 2, H, W)
    flow_t1: Tensor
    mask: Tensor  # visibility in frame 0, (B, 1, H, W), in (0, 1)
    static: Tensor  # static content such as logos and captions, (B, 1, H, W), in (0, 1)


class RAFTVFISynthesis(nn.Module):
    """Filters the flows and estimates both masks, from frames less their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = FlowUNet()
        self.mask = convolutions((38, 32, 16, 1), first_kernel=5)
        self.static = convolutions((56, 32, 32, 16, 16, 1))

    def forward(
        self, frame0: Tensor, frame1: Tensor, flow: Tensor, flow_t: Tensor
    ) -> SynthesisOutput:
        """Shapes: frames (B, 3, H, W), flow_01 and flow_10, flow_t0 and flow_t1 (B, 4, H, W)."""
        frames = torch.cat((frame0, frame1), dim=1)
        flow_t0, flow_t1 = flow_t.chunk(2, dim=1)
        warped = torch.cat((backward_warp(frame0, flow_t0), backward_warp(frame1, flow_t1)), dim=1)
        corrections, features = self.unet(torch.cat((frames, warped, flow, flow_t), dim=1))
        change0, change1, offset0, offset1 = corrections.chunk(4, dim=1)
        flow_t0 = backward_warp(flow_t0, REACH * offset0.tanh()) + change0
        flow_t1 = backward_warp(flow_t1, REACH * offset1.tanh()) + change1
        edges0, edges1 = gradient_magnitude(frame0), gradient_magnitude(frame1)
        warped = torch.cat((backward_warp(frame0, flow_t0), backward_warp(frame1, flow_t1)), dim=1)
        moved = backward_warp(edges0, flow_t0), backward_warp(edges1, flow_t1)
        mask = self.mask(torch.cat((warped, features), dim=1)).sigmoid()
        inputs = torch.cat((warped, *moved, frames, edges0, edges1, features), dim=1)
        return SynthesisOutput(flow_t0, flow_t1, mask, self.static(inputs).sigmoid())

    def compute_modules(self) -> Iterator[nn.Module]:
        """Yield all layers except those that read or write flows."""
        unet = self.unet
        yield from (unet.half_size, *unet.down, *unet.up, unet.features, self.mask, self.static)


class FlowUNet(nn.Module):
    """U-Net that estimates corrections of the flows, and features for the masks."""

    def __init__(self) -> None:
        super().__init__()
        self.full_size = activated(20, 32, 32, first_kernel=5)
        self.half_size = activated(32, 32, 32)
        self.down = nn.ModuleList(
            (
                activated(32, 64, 64, first_kernel=5, kernel=5),
                activated(64, 128, 128),
                activated(128, 128, 128),
            )
        )
        self.up = nn.ModuleList((SkipUp(128, 128), SkipUp(128, 64), SkipUp(64, 32)))
        self.features = activated(32, 32)
        self.output = nn.Conv2d(32, 8, kernel_size=3, padding=1)

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: (B, 20, H, W) -> corrections (B, 8, H, W), features (B, 32, H, W)."""
        full = self.full_size(stack)
        half = [side // 2 for side in full.shape[-2:]]
        levels = [self.half_size(F.interpolate(full, size=half, mode="bilinear"))]
        for down in self.down:
            levels.append(down(F.avg_pool2d(levels[-1], 2)))
        features = levels.pop()
        for up in self.up:
            features = up(features, levels.pop())
        features = F.interpolate(features, size=full.shape[-2:], mode="bilinear")
        features = self.features(features)
        return self.output(features), features


class SkipUp(nn.Module):
    """Upscales features by two and joins those of the skip connection."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.before = activated(in_channels, out_channels)
        self.after = activated(2 * out_channels, out_channels)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Shapes: (B, C, h, w), skip (B, C', 2h, 2w) -> (B, C', 2h, 2w)."""
        features = F.interpolate(features, size=skip.shape[-2:], mode="bilinear")
        return self.after(torch.cat((self.before(features), skip), dim=1))


def gradient_magnitude(frame: Tensor) -> Tensor:
    """Return the gradient magnitude of each channel by central differences, zero-padded.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    """
    padded = F.pad(frame, (1, 1, 1, 1))
    right = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return (right**2 + down**2 + 1e-6).sqrt()


def dilate(mask: Tensor) -> Tensor:
    """Dilate twice by 5 x 5 pixels. Shapes: (B, 1, H, W), in [0, 1] -> (B, 1, H, W)."""
    for _ in range(2):
        mask = F.max_pool2d(mask, 5, stride=1, padding=2)
    return mask


def compose(frame0: Tensor, frame1: Tensor, layers: SynthesisOutput, time: Tensor) -> Tensor:
    """Blend the warped frames, and cross-fade the frames where they are static.

    Shapes: frames (B, 3, H, W), time (B, 1, 1, 1) -> (B, 3, H, W).
    """
    warped0 = backward_warp(frame0, layers.flow_t0)
    warped1 = backward_warp(frame1, layers.flow_t1)
    moving = torch.lerp(warped1, warped0, blend_weight(layers.mask, time))
    return torch.lerp(moving, torch.lerp(frame0, frame1, time), layers.static)


def blend_weight(mask: Tensor, time: Tensor) -> Tensor:
    """Return the weight of frame 0, by its visibility and its distance in time."""
    weight0, weight1 = (1 - time) * mask, time * (1 - mask)
    return weight0 / (weight0 + weight1)


def convolutions(
    channels: tuple[int, ...], first_kernel: int = 3, kernel: int = 3
) -> nn.Sequential:
    """Return convolutions that keep the resolution, with activations between them."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise(channels)):
        size = kernel if i else first_kernel
        layers += [nn.Conv2d(before, after, size, padding=size // 2), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])


def activated(*channels: int, first_kernel: int = 3, kernel: int = 3) -> nn.Sequential:
    """Return `convolutions` with an activation after the last one too."""
    return convolutions(channels, first_kernel, kernel).append(nn.LeakyReLU(SLOPE))
