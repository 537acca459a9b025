"""Practical-RIFE, the continuation of RIFE as a tool: versions 4.6 and 4.25.

Stages, in order (all in this file):
    1. `PracticalEncoder` (4.25 only): four features per pixel of each frame.
    2. `PracticalBlock`, four or five times, coarse to fine: flows from time t to both frames, a
       blend mask, and (4.25) features for the next block. Every block takes the time.
    3. The frames are warped and blended; no network refines the result.

Frames are RGB in [0, 1], stacked on the batch axis as (2B, 3, H, W); flows are in pixels,
(B, 4, H, W): (u, v) to frame 0, then to frame 1.

Published code and weights: hzwer/Practical-RIFE, MIT; the network is after Huang et al., ECCV 2022.
Written from a description of its arithmetic and the shapes of its tensors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from sgm_vfi.model.baselines.rife.checkpoint_names import PARTS
from sgm_vfi.model.interpolator import Interpolation, Interpolator, convert_frames
from sgm_vfi.model.layers.conv import LeakyConv, ScaledResidualConv
from sgm_vfi.model.layers.memory_layout import set_memory_layout
from sgm_vfi.model.layers.synthesis_unet import blend
from sgm_vfi.model.ops.cat_channels import cat_channels
from sgm_vfi.model.ops.resize import resize, resize_flow
from sgm_vfi.model.ops.warp import warp_pair
from sgm_vfi.model.weight_io import (
    Architecture,
    CheckpointError,
    NameScope,
    Weights,
    abbreviate,
    translate_name,
)

SLOPE = 0.2  # of every LeakyReLU
RESIDUAL_CONVS = 8
ENCODED = 4  # channels of `PracticalEncoder`
MOST_BLOCKS = 5
CARRIED = 8  # channels of the features that a block passes to the next


@dataclass(frozen=True, kw_only=True)
class PracticalConfig:
    """Shape of the network."""

    channels: tuple[int, ...] = (192, 128, 96, 64)  # of the blocks, coarse to fine
    encoded: bool = False  # whether blocks take frame features and pass features on (4.25)


V4_6 = PracticalConfig()
V4_25 = PracticalConfig(channels=(192, 128, 96, 64, 32), encoded=True)


class PracticalRIFEState(NamedTuple):
    """Everything between two frames that does not depend on time."""

    frames: Tensor  # (2B, 3, H, W)
    inputs: Tensor  # frames and, in 4.25, their features, (2B, 3 or 7, H, W)
    flow_scale: float


class PracticalBlockOutput(NamedTuple):
    """Flows, blend mask and features after a block, at full resolution."""

    flow: Tensor  # (B, 4, H, W)
    rest: Tensor  # blend logits and, in 4.25, features for the next block, (B, 1 or 9, H, W)

    @property
    def blend_logits(self) -> Tensor:
        """Logits of the weight of frame 0. Shapes: (B, 1, H, W)."""
        return self.rest[:, :1]


class PracticalRIFE(Interpolator):
    """Coarse-to-fine estimation of intermediate flows and a blend mask, without refinement."""

    largest_flow_scale = 4

    def __init__(self, config: PracticalConfig = V4_6) -> None:
        super().__init__()
        self.config = config
        count = len(config.channels)
        self.scales = [2 ** (count - 1 - i) for i in range(count)]
        self.stride = 4 * self.scales[0]
        inputs = 3 + (ENCODED if config.encoded else 0)
        carried = CARRIED if config.encoded else 0
        later = 2 * inputs + 1 + 1 + carried + 4  # warped frames, time, mask, features, flow
        self.encoder = PracticalEncoder() if config.encoded else None
        self.blocks: Sequence[PracticalBlock] = cast(
            Any,
            nn.ModuleList(
                PracticalBlock(2 * inputs + 1 if i == 0 else later, channels, carried)
                for i, channels in enumerate(config.channels)
            ),
        )
        # Features follow this layout, in which convolutions on CPUs are faster.
        set_memory_layout(self, torch.channels_last)

    def prepare(
        self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0
    ) -> PracticalRIFEState:
        """Compute the features of both frames. Shapes: frames (B, 3, H, W)."""
        frame0, frame1 = convert_frames(frame0, frame1, self, flow_scale)
        frames = torch.cat((frame0, frame1)).clamp(0, 1)
        inputs = frames
        if self.encoder is not None:
            inputs = torch.cat((frames, self.encoder(frames)), dim=1)
        return PracticalRIFEState(frames, inputs, flow_scale)

    def interpolate(
        self, state: PracticalRIFEState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Interpolate the frame at `time`. Shapes: time (B, 1, 1, 1) -> frame (B, 3, H, W)."""
        blocks = iter(zip(self.blocks, self.scales, strict=True))
        block, scale = next(blocks)
        motion = self._step(block, state, time, None, scale / state.flow_scale)
        first = motion.flow if explain else None
        for block, scale in blocks:
            motion = self._step(block, state, time, motion, scale / state.flow_scale)
        frame = blend(warp_pair(state.frames, motion.flow), motion.blend_logits)
        maps = None
        if first is not None:
            blend_mask = motion.blend_logits.sigmoid()
            maps = {"initial_flow": first, "flow": motion.flow, "blend": blend_mask}
        return Interpolation(frame, explanation=maps)

    def compute_modules(self) -> Iterator[nn.Module]:
        """Yield all convolutions except the output layers of the blocks, which write flows."""
        if self.encoder is not None:
            yield self.encoder
        for block in self.blocks:
            yield from (block.head, block.residual)

    def _step(
        self,
        block: "PracticalBlock",
        state: PracticalRIFEState,
        time: Tensor,
        previous: PracticalBlockOutput | None,
        scale: float,
    ) -> PracticalBlockOutput:
        """Run a block, and add its flows to the motion before it, if any."""
        if previous is None:
            frames = resize(state.inputs, 1 / scale)
            plane = time.expand(-1, 1, *frames.shape[-2:])
            return block(torch.cat((*frames.chunk(2), plane), dim=1), scale)
        warped0, warped1 = warp_pair(state.inputs, previous.flow, scale).chunk(2)
        known = (warped0[:, :3], warped1[:, :3], warped0[:, 3:], warped1[:, 3:])
        plane = time.expand(-1, 1, *warped0.shape[-2:])
        motion = (resize(previous.rest, 1 / scale), resize_flow(previous.flow, 1 / scale))
        flow, rest = block(cat_channels((*known, plane, *motion)), scale)
        if not self.config.encoded:  # later versions do not accumulate the mask
            rest = previous.rest + rest
        return PracticalBlockOutput(previous.flow + flow, rest)


class PracticalEncoder(nn.Sequential):
    """Four features per pixel. Shapes: (B, 3, H, W) -> (B, 4, H, W)."""

    def __init__(self) -> None:
        super().__init__(
            LeakyConv(3, 16, SLOPE, stride=2),
            LeakyConv(16, 16, SLOPE),
            LeakyConv(16, 16, SLOPE),
            nn.ConvTranspose2d(16, ENCODED, kernel_size=4, stride=2, padding=1),
        )


class PracticalBlock(nn.Module):
    """Estimates flows and a blend mask on downscaled inputs, and upscales them.

    Shapes: (B, in_channels, H / scale, W / scale) -> `PracticalBlockOutput`.
    """

    def __init__(self, in_channels: int, channels: int, carried: int) -> None:
        super().__init__()
        self.head = nn.Sequential(
            LeakyConv(in_channels, channels // 2, SLOPE, stride=2),
            LeakyConv(channels // 2, channels, SLOPE, stride=2),
        )
        self.residual = nn.Sequential(
            *(ScaledResidualConv(channels, SLOPE) for _ in range(RESIDUAL_CONVS))
        )
        self.unused = 0 if carried else 1  # output channels of the published layer that are ignored
        out = 4 + 1 + carried + self.unused
        self.output = nn.Sequential(
            nn.ConvTranspose2d(channels, 4 * out, kernel_size=4, stride=2, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Tensor, scale: float) -> PracticalBlockOutput:
        """Estimate the motion on inputs that are downscaled by `scale`."""
        raw = self.output(self.residual(self.head(x)))
        rest = raw[:, 4 : raw.shape[1] - self.unused]
        return PracticalBlockOutput(resize_flow(raw[:, :4], scale), resize(rest, scale))


PUBLISHED_NAMES = (
    *(NameScope(f"block{i}.", f"blocks.{i}.", PARTS) for i in range(MOST_BLOCKS)),
    *(NameScope(f"encode.cnn{i}.", f"encoder.{i}.0.") for i in range(3)),
    NameScope("encode.cnn3.", "encoder.3."),
)
FOR_TRAINING = ("teacher.", "caltime.")  # modules that only the published training uses


def is_published(weights: Weights) -> bool:
    """Whether the names are those of the published code, of any version from 2.x to 4.x."""
    return "block0.conv0.0.0.weight" in weights.state


def from_published(weights: Weights) -> Weights:
    """Rename the tensors of a published checkpoint, and drop those only used for training."""
    state = {
        translate_name(name, PUBLISHED_NAMES): tensor
        for name, tensor in weights.state.items()
        if not name.startswith(FOR_TRAINING)
    }
    return weights._replace(state=state)


def published_config(weights: Weights) -> PracticalConfig:
    """Find the version from the shapes; a CheckpointError unless it is 4.6 or 4.25."""
    state = weights.state
    biases = [f"blocks.{i}.head.1.0.bias" for i in range(MOST_BLOCKS)]
    found = PracticalConfig(
        channels=tuple(len(state[name]) for name in biases if name in state),
        encoded=any(name.startswith("encoder.") for name in state),
    )
    if found not in (V4_6, V4_25) or "blocks.0.residual.0.beta" not in state:
        raise CheckpointError(
            f"{weights.source} holds an unsupported version of RIFE: {found.channels} channels. "
            f"Supported are 4.6, {V4_6.channels}, 4.25, {V4_25.channels}, and RIFE and RIFE_m as "
            f"first published; other versions (2.x and 3.x, also called HD, the rest of 4.x) are "
            f"other networks. Its tensors: {abbreviate(sorted(state))}."
        )
    return found


def _describe(config: PracticalConfig) -> str:
    features = "with features" if config.encoded else "without features"
    return f"RIFE 4.x, {config.channels} channels wide, {features} of the frames"


ARCHITECTURE = Architecture(
    "rife_practical",
    PracticalRIFE,
    PracticalConfig,
    is_published,
    from_published,
    published_config,
    describe=_describe,
)
