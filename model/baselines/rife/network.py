"""RIFE (Huang et al., Real-Time Intermediate Flow Estimation, ECCV 2022).

Published code: hzwer/ECCV2022-RIFE, MIT. This is written from a specification of its arithmetic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sgm_vfi.model.interpolator import (
    Interpolation,
    TileableInterpolator,
    Window,
    require_frames,
    require_time,
)
from sgm_vfi.model.layers.conv import conv_prelu
from sgm_vfi.model.layers.synthesis_unet import SynthesisNetwork, blend
from sgm_vfi.model.ops.colour_order import ColourOrder, reorder_colours, require_colour_order
from sgm_vfi.model.ops.resize import resize, resize_flow
from sgm_vfi.model.ops.warp import warp_pair

SCALES = (4, 2, 1)  # how much smaller than the frames each block sees them, coarse to fine
RESIDUAL_CONVS = 8


@dataclass(frozen=True, kw_only=True)
class RIFEConfig:
    """Shape and habits of the network: files fit where widths, time and teacher do."""

    channels: tuple[int, int, int] = (240, 150, 90)  # of the blocks, coarse to fine
    context_channels: int = 16
    any_time: bool = False  # whether blocks are told the time: RIFE_m
    doubled: bool = False  # 2R: every map twice as high and wide, of weights trained like that
    teacher: bool = True  # a block that sees the true frame, for training alone
    colour_order: ColourOrder = "rgb"  # that the weights expect; published ones: "bgr"

    def __post_init__(self) -> None:
        require_colour_order(self.colour_order)


RIFE_BASE = RIFEConfig()
RIFE_M = RIFEConfig(any_time=True)
RIFE_2R = RIFEConfig(doubled=True)


class RIFEState(NamedTuple):
    """What serves every time between two frames; both are stacked on the batch axis."""

    frames: Tensor  # (2B, 3, H, W), in the network's colour order
    context: list[Tensor]  # features for synthesis
    flow_scale: float


class IFBlockOutput(NamedTuple):
    """The motion after one of the blocks, at full size."""

    flow: Tensor  # (B, 4, H, W)
    blend_logits: Tensor  # (B, 1, H, W)


class RIFEMotion(NamedTuple):
    """The motion at a time."""

    motions: tuple[IFBlockOutput, ...]  # after each block, coarse to fine
    explain: bool


class RIFETrainingOutput(NamedTuple):
    """What the loss needs of a prediction; colours are in the network's order."""

    frame: Tensor  # (B, 3, H, W) in [0, 1]
    target: Tensor
    motions: tuple[IFBlockOutput, ...]  # of the blocks, coarse to fine
    merged: tuple[Tensor, ...]  # both frames warped and blended by each of them, (B, 3, H, W)
    taught: IFBlockOutput  # by the block that sees the target
    taught_merged: Tensor


class RIFE(TileableInterpolator):
    """Three blocks estimate both flows and a mask, coarse to fine; a U-Net refines the blend."""

    stride = 16
    halo = 80  # the U-Net sees 76 pixels around each one
    largest_flow_scale = 4

    def __init__(self, config: RIFEConfig = RIFE_BASE) -> None:
        super().__init__()
        self.config = config
        self.any_time = config.any_time
        frames = 6 + config.any_time  # and the time
        widths = (frames, *(frames + 6 + 1 + 4 for _ in SCALES[1:]))  # and warped, mask, flow
        self.blocks = nn.ModuleList(
            IFBlock(*shape, doubled=config.doubled)
            for shape in zip(widths, config.channels, strict=True)
        )
        self.teacher = None
        if config.teacher:
            self.teacher = IFBlock(widths[-1] + 3, config.channels[-1], doubled=config.doubled)
        self.synthesis = SynthesisNetwork(config.context_channels, doubled=config.doubled)

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> RIFEState:
        require_frames(frame0, frame1, self, flow_scale)
        frames = reorder_colours(torch.cat((frame0, frame1)), self.config.colour_order)
        return RIFEState(frames, self.synthesis.context(frames), flow_scale)

    def estimate(self, state: RIFEState, time: Tensor, *, explain: bool = False) -> RIFEMotion:
        """The motion at `time`.

        Raises:
            ValueError: this network knows the middle only, and another time is asked for.
        """
        require_time(time, self)
        motions: list[IFBlockOutput] = []
        for block, scale in zip(self.blocks, SCALES, strict=True):
            before = motions[-1] if motions else None
            motions.append(self._step(block, state, time, before, scale / state.flow_scale))
        return RIFEMotion(tuple(motions), explain)

    def synthesise(
        self, state: RIFEState, motion: RIFEMotion, window: Window | None = None
    ) -> Interpolation:
        height, width = state.frames.shape[-2:]
        window = window or Window(0, height, 0, width)
        outer = window.expanded(self.halo, state.frames)
        *coarse, last = motion.motions
        corner = (outer.top, outer.left)
        parts = (outer.crop(part) for part in last)
        frame, merged = self.synthesis(state.frames, state.context, *parts, corner)
        stages = []
        if self.training:
            stages = [window.crop(merge(state.frames, before)) for before in coarse]
            stages.append(window.relative_to(outer).crop(merged))
        notes = None
        if motion.explain:
            first = motion.motions[0].flow
            notes = {"initial_flow": first, "flow": last.flow, "blend": last.blend_logits.sigmoid()}
            notes = {name: window.crop(picture) for name, picture in notes.items()}
        order = self.config.colour_order
        frame = reorder_colours(window.relative_to(outer).crop(frame), order)
        return Interpolation(frame, tuple(reorder_colours(stage, order) for stage in stages), notes)

    def training_forward(
        self, frame0: Tensor, frame1: Tensor, time: Tensor, target: Tensor
    ) -> RIFETrainingOutput:
        """Predict, and let the teacher see the true frame.

        Shapes: frames and target (B, 3, H, W), time (B, 1, 1, 1).
        """
        if self.teacher is None:
            raise ValueError("This RIFE has no teacher to learn from: set model.teacher=true.")
        state = self.prepare(frame0, frame1)
        motions = self.estimate(state, time).motions
        target = reorder_colours(target, self.config.colour_order)
        taught = self._step(self.teacher, state, time, motions[-1], 1, target)
        frame, merged = self.synthesis(state.frames, state.context, *motions[-1])
        coarse = (merge(state.frames, motion) for motion in motions[:-1])
        taught_merged = merge(state.frames, taught)
        return RIFETrainingOutput(frame, target, motions, (*coarse, merged), taught, taught_merged)

    def compute_modules(self) -> Iterator[nn.Module]:
        """All convolutions but the last ones of the blocks, which give pixels."""
        yield from (self.synthesis.context, self.synthesis.unet)
        for block in (*self.blocks, *([self.teacher] if self.teacher is not None else [])):
            yield from (block.head, block.residual)

    def _step(
        self,
        block: "IFBlock",
        state: RIFEState,
        time: Tensor,
        before: IFBlockOutput | None,
        scale: float,
        *shown: Tensor,
    ) -> IFBlockOutput:
        """Let a block correct the motion, or, the first one, find it."""
        seen = [*state.frames.chunk(2)]
        if self.any_time:
            seen.append(time.expand(-1, 1, *state.frames.shape[-2:]))
        if before is None:
            return block(torch.cat(seen, dim=1), None, scale)
        warped = warp_pair(state.frames, before.flow)
        seen += [*warped.chunk(2), before.blend_logits, *shown]
        change = block(torch.cat(seen, dim=1), before.flow, scale)
        return IFBlockOutput(*(old + new for old, new in zip(before, change, strict=True)))


class IFBlock(nn.Module):
    """Reads motion off frames that it makes smaller, and enlarges it again.

    Shapes: x (B, C, H, W), flow (B, 4, H, W) or None -> `IFBlockOutput`;
    `in_channels` is C, plus 4 with a flow.
    """

    def __init__(self, in_channels: int, channels: int, *, doubled: bool = False) -> None:
        super().__init__()
        self.reduced = 1 if doubled else 2  # how much smaller the output is than what is read
        self.head = nn.Sequential(
            conv_prelu(in_channels, channels // 2, stride=self.reduced),
            conv_prelu(channels // 2, channels, stride=2),
        )
        convs = (conv_prelu(channels, channels) for _ in range(RESIDUAL_CONVS))
        self.residual = nn.Sequential(*convs)
        self.output = nn.ConvTranspose2d(channels, 5, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor, flow: Tensor | None, scale: float) -> IFBlockOutput:
        """`scale`: how much smaller than x what is read shall be."""
        x = resize(x, 1 / scale)
        if flow is not None:
            x = torch.cat((x, resize_flow(flow, 1 / scale)), dim=1)
        x = self.head(x)
        raw = self.output(x + self.residual(x))
        enlarged = self.reduced * scale
        return IFBlockOutput(resize_flow(raw[:, :4], enlarged), resize(raw[:, 4:], enlarged))


def merge(frames: Tensor, motion: IFBlockOutput) -> Tensor:
    """Warp both frames and blend them. Shapes: (2B, 3, H, W) -> (B, 3, H, W)."""
    return blend(warp_pair(frames, motion.flow), motion.blend_logits)
