"""RIFE (Huang et al., Real-Time Intermediate Flow Estimation, ECCV 2022).

Stages, in order:
    1. `IFBlock`, three times, on frames at 1/4, 1/2 and 1 of the resolution (each block halves it
       twice more inside): flows from time t to both frames and a blend mask, each block correcting
       the previous result on the warped frames. In training a fourth block, the teacher, also takes
       the ground truth.
    2. `sgm_vfi.model.layers.synthesis_unet`: context features of both frames are warped, and a
       U-Net adds a residual to the blend of the warped frames.

Frames are RGB in [0, 1], stacked on the batch axis as (2B, 3, H, W); flows are in pixels,
(B, 4, H, W): (u, v) to frame 0, then to frame 1. RIFE_m is trained for any time, 2R runs every map
at twice the resolution.

Published code: hzwer/ECCV2022-RIFE, MIT. Written from a specification of its arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from sgm_vfi.model.interpolator import (
    Interpolation,
    TileableInterpolator,
    Window,
    convert_frames,
    require_time,
)
from sgm_vfi.model.layers.conv import conv_prelu
from sgm_vfi.model.layers.memory_layout import set_memory_layout
from sgm_vfi.model.layers.synthesis_unet import SynthesisNetwork, blend
from sgm_vfi.model.ops.cat_channels import cat_channels
from sgm_vfi.model.ops.colour_order import ColourOrder, reorder_colours, require_colour_order
from sgm_vfi.model.ops.resize import resize, resize_flow
from sgm_vfi.model.ops.warp import warp_pair

SCALES = (4, 2, 1)  # the frames are divided by for each block, coarse to fine
RESIDUAL_CONVS = 8


@dataclass(frozen=True, kw_only=True)
class RIFEConfig:
    """Shape and options of the network; channels, time and teacher must match the checkpoint."""

    channels: tuple[int, int, int] = (240, 150, 90)  # of the blocks, coarse to fine
    context_channels: int = 16
    any_time: bool = False  # whether the blocks take the time as an input (RIFE_m)
    doubled: bool = False  # 2R: feature maps have twice the resolution
    teacher: bool = True  # whether there is a block that takes the ground truth, for training only
    colour_order: ColourOrder = "rgb"  # that the weights expect; published ones: "bgr"

    def __post_init__(self) -> None:
        require_colour_order(self.colour_order)


RIFE_BASE = RIFEConfig()
RIFE_M = RIFEConfig(any_time=True)
RIFE_2R = RIFEConfig(doubled=True)


class RIFEState(NamedTuple):
    """Everything between two frames that does not depend on time."""

    frames: Tensor  # (2B, 3, H, W), in the network's colour order
    context: list[Tensor]  # features for synthesis
    flow_scale: float


class IFBlockOutput(NamedTuple):
    """Flows and blend mask after a block, at full resolution."""

    flow: Tensor  # (B, 4, H, W)
    blend_logits: Tensor  # (B, 1, H, W)


class RIFEMotion(NamedTuple):
    """The motion at one time."""

    motions: tuple[IFBlockOutput, ...]  # after each block, coarse to fine
    explain: bool  # whether `synthesise` returns an explanation


class RIFETrainingOutput(NamedTuple):
    """Everything that the loss needs; frames are in the network's colour order."""

    frame: Tensor  # (B, 3, H, W) in [0, 1]
    target: Tensor
    motions: tuple[IFBlockOutput, ...]  # of the blocks, coarse to fine
    merged: tuple[Tensor, ...]  # both frames warped and blended by each of them, (B, 3, H, W)
    teacher_motion: IFBlockOutput
    teacher_merged: Tensor


class RIFE(TileableInterpolator):
    """Coarse-to-fine estimation of intermediate flows, then a U-Net that refines the blend."""

    stride = 16
    halo = 80  # the receptive field of the U-Net is 76 pixels each way
    largest_flow_scale = 4

    def __init__(self, config: RIFEConfig = RIFE_BASE) -> None:
        super().__init__()
        self.config = config
        self.any_time = config.any_time
        frames = 6 + config.any_time  # and the time
        widths = (frames, *(frames + 6 + 1 + 4 for _ in SCALES[1:]))  # and warped, mask, flow
        self.blocks: Sequence[IFBlock] = cast(
            Any,
            nn.ModuleList(
                IFBlock(*shape, doubled=config.doubled)
                for shape in zip(widths, config.channels, strict=True)
            ),
        )
        self.teacher = None
        if config.teacher:
            self.teacher = IFBlock(widths[-1] + 3, config.channels[-1], doubled=config.doubled)
        self.synthesis = SynthesisNetwork(config.context_channels, doubled=config.doubled)
        # Features follow this layout, in which convolutions on CPUs are faster.
        set_memory_layout(self, torch.channels_last)

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> RIFEState:
        """Compute the context features of both frames. Shapes: frames (B, 3, H, W)."""
        frame0, frame1 = convert_frames(frame0, frame1, self, flow_scale)
        frames = reorder_colours(torch.cat((frame0, frame1)), self.config.colour_order)
        return RIFEState(frames, self.synthesis.context(frames), flow_scale)

    def estimate(self, state: RIFEState, time: Tensor, *, explain: bool = False) -> RIFEMotion:
        """Estimate the motion at `time`.

        Raises:
            ValueError: `time` is not 1/2, and the weights support no other.
        """
        require_time(time, self)
        motions: list[IFBlockOutput] = []
        for block, scale in zip(self.blocks, SCALES, strict=True):
            previous = motions[-1] if motions else None
            motions.append(self._step(block, state, time, previous, scale / state.flow_scale))
        return RIFEMotion(tuple(motions), explain)

    def synthesise(
        self, state: RIFEState, motion: RIFEMotion, window: Window | None = None
    ) -> Interpolation:
        """Warp, blend and refine the frame, or the part of it inside `window`."""
        height, width = state.frames.shape[-2:]
        window = window or Window(0, height, 0, width)
        outer = window.expanded(self.halo, state.frames)
        *coarse, last = motion.motions
        corner = (outer.top, outer.left)
        parts = (outer.crop(part) for part in last)
        frame, merged = self.synthesis(state.frames, state.context, *parts, corner)
        stages = []
        if self.training:
            stages = [window.crop(merge(state.frames, previous)) for previous in coarse]
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
        """Predict the frame, and the motion that the teacher finds with the ground truth.

        Shapes: frames and target (B, 3, H, W), time (B, 1, 1, 1).
        """
        if self.teacher is None:
            raise ValueError(
                "This RIFE has no teacher block, which training needs: set model.teacher=true."
            )
        state = self.prepare(frame0, frame1)
        motions = self.estimate(state, time).motions
        target = reorder_colours(target, self.config.colour_order)
        teacher_motion = self._step(self.teacher, state, time, motions[-1], 1, target)
        frame, merged = self.synthesis(state.frames, state.context, *motions[-1])
        coarse = (merge(state.frames, motion) for motion in motions[:-1])
        teacher_merged = merge(state.frames, teacher_motion)
        return RIFETrainingOutput(
            frame, target, motions, (*coarse, merged), teacher_motion, teacher_merged
        )

    def compute_modules(self) -> Iterator[nn.Module]:
        """Yield all convolutions except the output layers of the blocks, which write flows."""
        yield from (self.synthesis.context, self.synthesis.unet)
        for block in (*self.blocks, *([self.teacher] if self.teacher is not None else [])):
            yield from (block.head, block.residual)

    def _step(
        self,
        block: "IFBlock",
        state: RIFEState,
        time: Tensor,
        previous: IFBlockOutput | None,
        scale: float,
        *extra: Tensor,
    ) -> IFBlockOutput:
        """Run a block, and add its output to the motion before it, if any."""
        frames = resize(state.frames, 1 / scale)
        inputs = [*frames.chunk(2)]
        if self.any_time:
            inputs.append(time.expand(-1, 1, *frames.shape[-2:]))
        if previous is None:
            return block(cat_channels(inputs), scale)
        inputs += warp_pair(state.frames, previous.flow, scale).chunk(2)
        inputs += (resize(part, 1 / scale) for part in (previous.blend_logits, *extra))
        inputs.append(resize_flow(previous.flow, 1 / scale))
        change = block(cat_channels(inputs), scale)
        return IFBlockOutput(*(old + new for old, new in zip(previous, change, strict=True)))


class IFBlock(nn.Module):
    """Estimates flows and a blend mask on downscaled inputs, and upscales them.

    Shapes: (B, in_channels, H / scale, W / scale) -> `IFBlockOutput`.
    """

    def __init__(self, in_channels: int, channels: int, *, doubled: bool = False) -> None:
        super().__init__()
        self.reduction = 1 if doubled else 2  # of the output resolution
        self.head = nn.Sequential(
            conv_prelu(in_channels, channels // 2, stride=self.reduction),
            conv_prelu(channels // 2, channels, stride=2),
        )
        convs = (conv_prelu(channels, channels) for _ in range(RESIDUAL_CONVS))
        self.residual = nn.Sequential(*convs)
        self.output = nn.ConvTranspose2d(channels, 5, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor, scale: float) -> IFBlockOutput:
        """Estimate the motion on inputs that are downscaled by `scale`."""
        x = self.head(x)
        raw = self.output(x + self.residual(x))
        enlarged = self.reduction * scale
        return IFBlockOutput(resize_flow(raw[:, :4], enlarged), resize(raw[:, 4:], enlarged))


def merge(frames: Tensor, motion: IFBlockOutput) -> Tensor:
    """Warp both frames and blend them. Shapes: (2B, 3, H, W) -> (B, 3, H, W)."""
    return blend(warp_pair(frames, motion.flow), motion.blend_logits)
