"""PerVFI: Perception-Oriented Video Frame Interpolation (Wu et al., CVPR 2024).

The full title goes on: via Asymmetric Blending.

Stages, in order:
    1. `encoder_decoder`: a feature pyramid of each frame, at 1, 1/2 and 1/4 of the resolution.
       Optical flow in both directions comes from a frozen estimator, RAFT by default.
    2. `splatting`: a learned splatting metric; frame 0 is splatted to time t, which leaves holes,
       and so is the flow from time t to frame 1.
    3. `deformable_alignment`: frame 1 is aligned to time t by deformable convolution.
    4. `asymmetric_blending`: a quasi-binary mask fills the holes of frame 0 with frame 1.
    5. `multi_scale_fusion`: an HRNet-like network exchanges information between the levels.
    6. `normalizing_flow` generates the picture from noise, conditioned on these features; PerVFI-vb
       uses the decoder of `encoder_decoder` instead.

Frames are RGB in [0, 1] outside and in [-1, 1] inside; flows are in pixels, (B, 2, H, W). Feature
pyramids are lists, fine to coarse.

Published code: mulns/PerVFI, Apache-2.0. Written from a specification of its arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sgm_vfi.model.baselines.pervfi.asymmetric_blending import AsymmetricBlending
from sgm_vfi.model.baselines.pervfi.deformable_alignment import DeformableAlignment
from sgm_vfi.model.baselines.pervfi.encoder_decoder import PerVFIDecoder, PerVFIEncoder
from sgm_vfi.model.baselines.pervfi.multi_scale_fusion import MultiscaleFusion
from sgm_vfi.model.baselines.pervfi.normalizing_flow import ConditionalNormalizingFlow, noise_shapes
from sgm_vfi.model.baselines.pervfi.splatting import (
    SplatMetric,
    SplattedFeatures,
    splat_features,
    splat_flow_back,
)
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.flow_zoo import build_flow_estimator
from sgm_vfi.model.flow.motion_hypotheses_at_time import flow_to_size
from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    convert_frames,
    flow_scale_fraction,
)
from sgm_vfi.model.ops.resize import resize


@dataclass(frozen=True, kw_only=True)
class PerVFIConfig:
    """Shape and options of the network."""

    invertible: bool = True  # whether a normalizing flow generates the picture (v00), or not (vb)
    estimator: str = "raft"  # optical flow: one of sgm_vfi.model.flow.flow_zoo.FLOW_NETWORKS
    temperature: float = 0.3  # standard deviation of the noise that the picture is generated from
    seed: int = 0  # of that noise, which is the same for all pictures of one size

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"A temperature is 0 or more, got {self.temperature}.")


PERVFI = PerVFIConfig()
PERVFI_VB = PerVFIConfig(invertible=False)


class PerVFIState(NamedTuple):
    """Everything between two frames that does not depend on time."""

    levels0: list[Tensor]  # feature pyramids: 35, 64 and 96 channels
    levels1: list[Tensor]
    flow_01: Tensor  # (B, 2, H, W)
    flow_10: Tensor
    metric0: Tensor  # (B, 1, H, W), for half the distance in time; it is scaled linearly
    metric1: Tensor


class PerVFIFeatures(NamedTuple):
    """Features at one time."""

    conditions: list[Tensor]  # for the generator: 35, 64, 96 channels at 1/2, 1/4, 1/8
    splatted: list[SplattedFeatures]  # frame 0
    aligned: list[Tensor]  # frame 1
    masks: list[Tensor]  # weight of frame 1, (B, 1, h, w)
    flow_t1: Tensor  # (B, 2, H, W)


class PerVFITrainingOutput(NamedTuple):
    """Everything that the loss needs."""

    picture: Tensor  # (B, 3, H, W), approximately in [0, 1], not clamped
    target: Tensor
    nll: Tensor | None  # of the target, in bits per pixel, (B,); None without a normalizing flow


class PerVFI(Interpolator):
    """Splats frame 0 to time t and fills its holes from frame 1.

    Args:
        estimator: optical flow estimator; None builds the one that the config names.
    """

    stride = 8

    def __init__(
        self, config: PerVFIConfig = PERVFI, estimator: FlowEstimator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.estimator = build_flow_estimator(config.estimator) if estimator is None else estimator
        self.estimator.requires_grad_(False)
        self.encoder = PerVFIEncoder()
        self.metric = SplatMetric()
        self.align = DeformableAlignment()
        self.blend = AsymmetricBlending()
        self.fuse = MultiscaleFusion()
        self.generator = ConditionalNormalizingFlow() if config.invertible else PerVFIDecoder()

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> PerVFIState:
        """Estimate the flows and encode both frames. Shapes: frames (B, 3, H, W)."""
        frame0, frame1 = convert_frames(frame0, frame1, self)
        scale = float(flow_scale_fraction(flow_scale))
        with torch.no_grad():
            flows = self.estimator.bidirectional(resize(frame0, scale), resize(frame1, scale))
        height, width = frame0.shape[-2:]
        flow_01, flow_10 = (flow_to_size(flow, (height, width)) for flow in flows)
        return self.prepare_with_flows(frame0, frame1, flow_01, flow_10)

    def prepare_with_flows(
        self, frame0: Tensor, frame1: Tensor, flow_01: Tensor, flow_10: Tensor
    ) -> PerVFIState:
        """Do what `prepare` does, with given flows.

        Shapes: frames (B, 3, H, W), flows (B, 2, H, W), in pixels.
        """
        frame0, frame1 = convert_frames(frame0, frame1, self)
        both = self.encoder(2 * torch.cat((frame0, frame1)) - 1)
        levels0, levels1 = (list(half) for half in zip(*(x.chunk(2) for x in both), strict=True))
        fine0, fine1 = levels0[0], levels1[0]
        metric0, metric1 = self.metric(
            torch.cat((fine0, fine1)), torch.cat((fine1, fine0)), torch.cat((flow_01, flow_10))
        ).chunk(2)
        return PerVFIState(levels0, levels1, flow_01, flow_10, metric0, metric1)

    def extract_features(self, state: PerVFIState, time: Tensor) -> PerVFIFeatures:
        """Run stages 2 to 5. Shapes: time (B, 1, 1, 1)."""
        splatted = splat_features(state.levels0, time * state.flow_01, 2 * time * state.metric0)
        flow_t1 = splat_flow_back((1 - time) * state.flow_10, 2 * (1 - time) * state.metric1)
        aligned = self.align(splatted, state.levels1, flow_t1)
        blended, masks = self.blend(splatted, aligned)
        return PerVFIFeatures(self.fuse(blended), splatted, aligned, masks, flow_t1)

    def interpolate(
        self, state: PerVFIState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Interpolate the frame at `time`. Shapes: time (B, 1, 1, 1) -> frame (B, 3, H, W)."""
        features = self.extract_features(state, time)
        frame = ((self.generate(features.conditions) + 1) / 2).clamp(0, 1)
        if not explain:
            return Interpolation(frame)
        flow_t0 = splat_flow_back(time * state.flow_01, 2 * time * state.metric0)
        flow = torch.cat((flow_t0, features.flow_t1), dim=1)
        return Interpolation(frame, explanation={"flow": flow, "blend": 1 - features.masks[0]})

    def train(self, mode: bool = True) -> "PerVFI":
        """Set the training mode; the flow estimator stays in evaluation mode."""
        super().train(mode)
        self.estimator.eval()
        return self

    @torch.no_grad()
    def initialize(self, frame0: Tensor, target: Tensor, frame1: Tensor, time: Tensor) -> None:
        """Initialise the ActNorm layers of a fresh network from a batch, before training.

        PerVFI-vb has none. Shapes: frames and target (B, 3, H, W), time (B, 1, 1, 1).
        """
        if isinstance(self.generator, ConditionalNormalizingFlow):
            conditions = self.extract_features(self.prepare(frame0, frame1), time).conditions
            self.generator.initialize(2 * target - 1, conditions)

    def training_forward(
        self,
        frame0: Tensor,
        frame1: Tensor,
        time: Tensor,
        target: Tensor,
        flows: tuple[Tensor, Tensor] | None = None,
    ) -> PerVFITrainingOutput:
        """Predict the frame and, with a normalizing flow, the likelihood of the target.

        The picture is generated from fresh noise of the same deviation as the latents of the
        target. In training mode, noise is also added to masks and targets.

        Args:
            flows: flow_01 and flow_10, (B, 2, H, W); None estimates them.

        Shapes: frames and target (B, 3, H, W), time (B, 1, 1, 1).
        """
        if flows is None:
            state = self.prepare(frame0, frame1)
        else:
            state = self.prepare_with_flows(frame0, frame1, *flows)
        conditions = self.extract_features(state, time).conditions
        if not isinstance(self.generator, ConditionalNormalizingFlow):
            return PerVFITrainingOutput((self.generate(conditions) + 1) / 2, target, None)
        bits, deviation = self.generator.bits_per_pixel(2 * target - 1, conditions)
        shapes = noise_shapes(*target.shape[-2:])
        noise = [deviation * torch.randn(len(target), *x, device=target.device) for x in shapes]
        return PerVFITrainingOutput((self.generate(conditions, noise) + 1) / 2, target, bits)

    def generate(
        self, conditions: Sequence[Tensor], noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Generate the picture, (B, 3, H, W) in [-1, 1], from the conditions.

        Args:
            noise: for the normalizing flow; None draws it by the config's seed and temperature.
        """
        if not isinstance(self.generator, ConditionalNormalizingFlow):
            return self.generator(conditions)
        noise = self.noise_like(conditions[0]) if noise is None else noise
        return self.generator.decode(noise, conditions)

    def noise_like(self, like: Tensor) -> list[Tensor]:
        """Draw noise that is the same for every sample, call and device.

        Shapes: like (B, C, H/2, W/2) -> (B, 6, H/2, W/2), (B, 12, H/4, W/4), (B, 48, H/8, W/8).
        """
        random = torch.Generator().manual_seed(self.config.seed)
        height, width = (2 * side for side in like.shape[-2:])
        noise = (torch.randn(shape, generator=random) for shape in noise_shapes(height, width))
        return [(self.config.temperature * x).to(like).expand(len(like), -1, -1, -1) for x in noise]

    def compute_modules(self) -> Iterator[nn.Module]:
        """Yield the encoder, the fusion and, of PerVFI-vb, the decoder."""
        yield from (*self.encoder.levels, self.fuse)
        if not self.config.invertible:
            yield self.generator
