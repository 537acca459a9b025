"""Synthesis of the frame from two frames and the motion, of RIFE (Huang et al., 2022) and SGM-VFI.

`doubled` is RIFE's 2R: the same weights at twice the resolution.
"""

import itertools

import torch
from torch import Tensor, nn

from sgm_vfi.model.layers.conv import conv_prelu
from sgm_vfi.model.layers.prelu import PReLU
from sgm_vfi.model.ops.banded_convolution import apply_in_bands
from sgm_vfi.model.ops.resize import resize_flow
from sgm_vfi.model.ops.warp import backward_warp, stack_flows
from sgm_vfi.model.weight_io import NameScope

PUBLISHED_NAMES = (  # in the files of both
    *(
        NameScope(f"contextnet.conv{i + 1}.conv{j + 1}.", f"synthesis.context.levels.{i}.{j}.")
        for i in range(4)
        for j in range(2)
    ),
    *(
        NameScope(f"unet.down{i}.conv{j + 1}.", f"synthesis.unet.down.{i}.{j}.")
        for i in range(4)
        for j in range(2)
    ),
    *(NameScope(f"unet.up{i}.", f"synthesis.unet.up.{i}.") for i in range(4)),
    NameScope("unet.conv.", "synthesis.unet.output."),
)

DOUBLE_MARGIN, UP_MARGIN = 4, 1  # rows that `double_conv` and `up_conv` look beyond their own


class ContextNet(nn.Module):
    """Four levels of features of a frame, before warping.

    Shapes: (B, 3, H, W) -> (B, c * 2 ** i, H / 2 ** (i + 1), W / 2 ** (i + 1)), i = 0 to 3;
    doubled: H / 2 ** i and W / 2 ** i.
    """

    def __init__(self, channels: int, *, doubled: bool = False) -> None:
        super().__init__()
        widths = (3, *(channels * 2**level for level in range(4)))
        first, *others = itertools.pairwise(widths)
        self.widths = (channels // (1 if doubled else 4), *(w // 4 for w in widths[2:]))
        self.levels = nn.ModuleList(
            (double_conv(*first, stride=1 if doubled else 2), *(double_conv(*w) for w in others))
        )

    def forward(self, frame: Tensor) -> list[Tensor]:
        """Return the features of each level, fine to coarse."""
        features = []
        for level, width in zip(self.levels, self.widths, strict=True):
            channels = max(frame.shape[1], width)
            frame = apply_in_bands(level, (frame,), DOUBLE_MARGIN, channels=channels)
            features.append(frame)
        return features


class UNet(nn.Module):
    """Residual of the blend: new content, softened seams.

    Removes its inputs from their lists, so that their memory is freed once they are used.

    Shapes: pictures (B, C_i, H, W), 17 channels together; context of frame 0 and frame 1, warped,
    as `ContextNet` lays them out -> (B, 3, H, W) in [-1, 1].
    """

    def __init__(self, channels: int, *, doubled: bool = False) -> None:
        super().__init__()
        c = channels
        first = double_conv(17, 2 * c, stride=1 if doubled else 2)
        self.down = nn.ModuleList((first, *(double_conv(s * c, s * c) for s in (4, 8, 16))))
        self.up = nn.ModuleList(
            up_conv(a * c, b * c) for a, b in ((32, 8), (16, 4), (8, 2), (4, 1))
        )
        stride = 2 if doubled else 1
        self.output = nn.Conv2d(c, 3, kernel_size=3, stride=stride, padding=1)

    def forward(
        self, pictures: list[Tensor], context0: list[Tensor], context1: list[Tensor]
    ) -> Tensor:
        """Return the residual; empties the lists."""
        skips = []
        for down in self.down:
            skips.append(apply_in_bands(down, pictures, DOUBLE_MARGIN))
            pictures[:] = (skips[-1], context0.pop(0), context1.pop(0))
        skips.pop()
        *ups, last = self.up
        for up in ups:
            pictures[:] = (apply_in_bands(up, pictures, UP_MARGIN), skips.pop())
        out = apply_in_bands(lambda x: self.output(last(x)), pictures, UP_MARGIN)
        wide = torch.promote_types(out.dtype, torch.float32)  # around 1/2 half is too coarse
        return 2 * out.to(wide).sigmoid() - 1


class SynthesisNetwork(nn.Module):
    """Warps both frames, blends them and adds a residual."""

    def __init__(self, channels: int, *, doubled: bool = False) -> None:
        super().__init__()
        self.doubled = doubled
        self.context = ContextNet(channels, doubled=doubled)
        self.unet = UNet(channels, doubled=doubled)

    def forward(
        self,
        frames: Tensor,
        context: list[Tensor],
        flow: Tensor,
        blend_logits: Tensor,
        origin: tuple[int, int] = (0, 0),
    ) -> tuple[Tensor, Tensor]:
        """Compose the frame, or the window of it that `flow` and `blend_logits` cover.

        Args:
            origin: (y, x) of that window in the frames, multiples of 16.

        Shapes: frames (2B, 3, H, W), context levels (2B, ...), flow (B, 4, h, w),
        blend_logits (B, 1, h, w) -> frame and blend before refinement, (B, 3, h, w) each.
        """
        flows = stack_flows(flow)
        warped = backward_warp(frames, flows, origin=origin)
        merged = blend(warped, blend_logits)
        (top, left), (height, width) = origin, flow.shape[-2:]
        window = frames[..., top : top + height, left : left + width]
        here = [*window.chunk(2), *warped.chunk(2), blend_logits, flow]
        levels = warp_levels(context, flows, origin, first=0 if self.doubled else 1)
        del warped, flows  # from here on the U-Net alone holds them, and lets them go
        residual = self.unet(here, *levels)
        return (merged + residual).clamp(0, 1), merged


def blend(warped: Tensor, blend_logits: Tensor) -> Tensor:
    """Blend two warped frames. Shapes: warped (2B, 3, H, W), logits (B, 1, H, W) -> (B, ...)."""
    warped0, warped1 = warped.chunk(2)
    return torch.lerp(warped1, warped0, blend_logits.sigmoid())


def warp_levels(
    context: list[Tensor], flows: Tensor, origin: tuple[int, int], first: int = 1
) -> tuple[list[Tensor], list[Tensor]]:
    """Warp each level by the flow reduced to its size; frame 0's levels, then frame 1's.

    Args:
        first: how often the first level is halved; each other is halved once more.
    """
    warped = []
    for level, features in enumerate(context, start=first):
        flows = resize_flow(flows, 1 / 2) if level else flows
        y, x = origin
        warped.append(backward_warp(features, flows, origin=(y >> level, x >> level)).chunk(2))
    return [pair[0] for pair in warped], [pair[1] for pair in warped]


def double_conv(in_channels: int, out_channels: int, stride: int = 2) -> nn.Sequential:
    """Build two convolutions; the first has the stride."""
    return nn.Sequential(
        conv_prelu(in_channels, out_channels, stride=stride),
        conv_prelu(out_channels, out_channels),
    )


def up_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build a transposed convolution that doubles the size, and a PReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1),
        PReLU(out_channels),
    )
