"""IFRNet (Kong et al., IFRNet: Intermediate Feature Refine Network, CVPR 2022).

Stages, in order (all in this file):
    1. `IFRNet.encode`: a feature pyramid of each frame less their common mean, at 1/2 to 1/16.
    2. `IFRNetDecoder`, four times, coarse to fine: each takes the warped features of both frames,
       the flows and the intermediate features so far, and refines both at twice the resolution.
       The first one takes the time; the last one also gives a blend mask and a residual.
    3. `compose`: the warped frames are blended, and the mean and the residual are added.

Frames are RGB in [0, 1], stacked on the batch axis as (2B, 3, H, W); flows are in pixels of their
own resolution, (B, 4, h, w): (u, v) to frame 0, then to frame 1. With a `flow_scale`, stages 1 and
2 run on resized frames.

Published code: ltkong218/IFRNet, MIT. Written from a specification of its arithmetic.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    convert_frames,
    flow_scale_fraction,
    require_time,
)
from sgm_vfi.model.layers.conv import conv_prelu
from sgm_vfi.model.layers.memory_layout import set_memory_layout
from sgm_vfi.model.layers.prelu import PReLU
from sgm_vfi.model.ops.cat_channels import cat_channels
from sgm_vfi.model.ops.resize import resize, resize_flow
from sgm_vfi.model.ops.warp import warp_pair

COARSEST = 16  # the last pyramid level is at 1/16


@dataclass(frozen=True, kw_only=True)
class IFRNetConfig:
    """Shape and options of the network."""

    widths: tuple[int, int, int, int] = (32, 48, 72, 96)  # of the encoder's levels, fine to coarse
    side_channels: int = 32  # of a residual block: these are convolved twice as often
    first_kernel: int = 3  # of the first convolution
    any_time: bool = False  # whether the weights were trained for times other than 1/2


IFRNET = IFRNetConfig()
IFRNET_SMALL = IFRNetConfig(widths=(24, 36, 54, 72), side_channels=24)
IFRNET_LARGE = IFRNetConfig(widths=(64, 96, 144, 192), side_channels=64, first_kernel=7)


class IFRNetState(NamedTuple):
    """Everything between two frames that does not depend on time."""

    frames: Tensor  # (2B, 3, H, W), less the mean
    mean: Tensor  # of both frames, (B, 1, 1, 1)
    features: list[Tensor]  # fine to coarse, of the frames resized by flow_scale
    flow_scale: float


class DecoderOutput(NamedTuple):
    """Output of all decoders at one time, at the resolution of the flow."""

    flows: tuple[Tensor, ...]  # coarse to fine: (B, 4, ...) at 1/8, 1/4, 1/2, 1, in their pixels
    features: tuple[Tensor, ...]  # intermediate, coarse to fine, at 1/8, 1/4, 1/2
    blend: Tensor  # (B, 1, H, W)
    residual: Tensor  # (B, 3, H, W)


class IFRNetTrainingOutput(NamedTuple):
    """Everything that the loss needs."""

    frame: Tensor  # (B, 3, H, W) in [0, 1]
    target: Tensor
    flows: tuple[Tensor, ...]  # as in `DecoderOutput`
    features: tuple[Tensor, ...]
    target_features: tuple[Tensor, ...]  # of the target, likewise


class IFRNet(Interpolator):
    """Joint coarse-to-fine refinement of intermediate flows and features."""

    stride = COARSEST

    def __init__(self, config: IFRNetConfig = IFRNET) -> None:
        super().__init__()
        self.config = config
        self.any_time = config.any_time
        fine, second, third, coarse = config.widths
        self.encoder = nn.ModuleList(
            nn.Sequential(conv_prelu(a, b, 2, kernel), conv_prelu(b, b))
            for (a, b), kernel in zip(
                pairwise((3, *config.widths)), (config.first_kernel, 3, 3, 3), strict=True
            )
        )
        shapes = (
            (2 * coarse + 1, 2 * coarse, 4 + third),
            (3 * third + 4, 3 * third, 4 + second),
            (3 * second + 4, 3 * second, 4 + fine),
            (3 * fine + 4, 3 * fine, 8),
        )
        self.decoders: Sequence[IFRNetDecoder] = cast(
            Any, nn.ModuleList(IFRNetDecoder(*shape, config.side_channels) for shape in shapes)
        )

    def train(self, mode: bool = True) -> "IFRNet":
        """Set the mode. Outside of training, features are channels-last: faster on CPUs.

        Training keeps the order of additions that its golden gradients have.
        """
        layout = torch.contiguous_format if mode else torch.channels_last
        set_memory_layout(self, layout)
        super().train(mode)
        return self

    def size_multiple(self, flow_scale: float = 1.0) -> int:
        """Return the multiple for which the scaled size is one of 16: 20 at a scale of 4/5."""
        ratio = flow_scale_fraction(flow_scale)
        return COARSEST * ratio.denominator // math.gcd(COARSEST, ratio.numerator)

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> IFRNetState:
        """Encode both frames. Shapes: frames (B, 3, H, W)."""
        frame0, frame1 = convert_frames(frame0, frame1, self, flow_scale)
        mean = torch.cat((frame0, frame1), dim=1).mean(dim=(1, 2, 3), keepdim=True)
        frames = torch.cat((frame0 - mean, frame1 - mean))
        return IFRNetState(frames, mean, self.encode(resize(frames, flow_scale)), flow_scale)

    def encode(self, frames: Tensor) -> list[Tensor]:
        """Encode frames. Shapes: (B, 3, H, W) -> (B, widths[i], H / 2^(i+1), ...), fine first."""
        levels = []
        for level in self.encoder:
            frames = level(frames)
            levels.append(frames)
        return levels

    def interpolate(
        self, state: IFRNetState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Interpolate the frame at `time`, (B, 1, 1, 1).

        Raises:
            ValueError: `time` is not 1/2, and the weights support no other.
        """
        require_time(time, self)
        decoded = self.decode(state, time)
        enlarged = 1 / state.flow_scale
        flow = resize_flow(decoded.flows[-1], enlarged)
        blend, residual = resize(decoded.blend, enlarged), resize(decoded.residual, enlarged)
        notes = None
        if explain:
            first = resize_flow(resize_flow(decoded.flows[0], COARSEST // 2), enlarged)
            notes = {"initial_flow": first, "flow": flow, "blend": blend}
        return Interpolation(compose(state, flow, blend, residual), explanation=notes)

    def decode(self, state: IFRNetState, time: Tensor) -> DecoderOutput:
        """Estimate the flows to both frames, a blend mask and a residual."""
        *finer, coarse = state.features
        both = torch.cat(coarse.chunk(2), dim=1)
        plane = time.expand(len(both), 1, *both.shape[-2:])
        out = self.decoders[0](cat_channels((both, plane)))
        flows, features = [out[:, :4]], [out[:, 4:]]
        for decoder, level in zip(self.decoders[1:], reversed(finer), strict=True):
            flow = flows[-1]
            warped = warp_pair(level, flow).chunk(2)
            out = decoder(cat_channels((features[-1], *warped, flow)))
            flows.append(out[:, :4] + resize_flow(flow, 2))
            features.append(out[:, 4:])
        *features, last = features
        return DecoderOutput(tuple(flows), tuple(features), last[:, :1].sigmoid(), last[:, 1:])

    def training_forward(
        self, frame0: Tensor, frame1: Tensor, time: Tensor, target: Tensor
    ) -> IFRNetTrainingOutput:
        """Predict the frame, and encode the target for the feature loss.

        Shapes: frames and target (B, 3, H, W), time (B, 1, 1, 1).
        """
        state = self.prepare(frame0, frame1)
        decoded = self.decode(state, time)
        frame = compose(state, decoded.flows[-1], decoded.blend, decoded.residual)
        fine_to_coarse = self.encode(target - state.mean)[:3]
        return IFRNetTrainingOutput(
            frame, target, decoded.flows, decoded.features, tuple(reversed(fine_to_coarse))
        )

    def compute_modules(self) -> Iterator[nn.Module]:
        """Yield all convolutions except the output layers of the decoders, which write flows."""
        yield from self.encoder
        for decoder in self.decoders:
            yield from (decoder.enter, decoder.refine)


class IFRNetDecoder(nn.Module):
    """Convolutions at one resolution, and a transposed one that doubles it.

    Shapes: (B, in_channels, h, w) -> (B, out_channels, 2h, 2w).
    """

    def __init__(self, in_channels: int, channels: int, out_channels: int, side: int) -> None:
        super().__init__()
        self.enter = conv_prelu(in_channels, channels)
        self.refine = SideChannelResBlock(channels, side)
        self.enlarge = nn.ConvTranspose2d(channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block's output."""
        return self.enlarge(self.refine(self.enter(x)))


class SideChannelResBlock(nn.Module):
    """Residual block that convolves its last channels twice as often as the others.

    Shapes: (B, channels, h, w) -> the same.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.split = (channels - side, side)
        self.conv1, self.conv3 = conv_prelu(channels, channels), conv_prelu(channels, channels)
        self.conv2, self.conv4 = conv_prelu(side, side), conv_prelu(side, side)
        self.conv5 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.activation = PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block's output."""
        y = x
        for whole, side in ((self.conv1, self.conv2), (self.conv3, self.conv4)):
            kept, refined = whole(y).split(self.split, dim=1)
            y = cat_channels((kept, side(refined)))
        return self.activation(x + self.conv5(y))


def compose(state: IFRNetState, flow: Tensor, blend: Tensor, residual: Tensor) -> Tensor:
    """Warp and blend the frames, then add the mean and the residual.

    Shapes: flow (B, 4, H, W), blend (B, 1, H, W), residual (B, 3, H, W) -> (B, 3, H, W).
    """
    warped0, warped1 = warp_pair(state.frames, flow).chunk(2)
    mixed = blend * warped0 + (1 - blend) * warped1
    return (mixed + state.mean + residual).clamp(0, 1)
