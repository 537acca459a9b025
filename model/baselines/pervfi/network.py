"""PerVFI (Wu et al., Perception-Oriented Video Frame Interpolation via Asymmetric Blending, CVPR
2024).

Published code: mulns/PerVFI, Apache-2.0. This is written from a specification of its arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sgm_vfi.model.baselines.pervfi.asymmetric_blending import AsymmetricBlending
from sgm_vfi.model.baselines.pervfi.encoder_decoder import PerVFIDecoder, PerVFIEncoder
from sgm_vfi.model.baselines.pervfi.feature_alignment import DeformableAlignment
from sgm_vfi.model.baselines.pervfi.feature_fusion import MultiscaleFusion
from sgm_vfi.model.baselines.pervfi.normalizing_flow import ConditionalNormalizingFlow, noise_shapes
from sgm_vfi.model.baselines.pervfi.splatting import (
    SplatMetric,
    SplattedFeatures,
    splat_features,
    splat_flow_back,
)
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.flow_zoo import build_flow_estimator
from sgm_vfi.model.flow.motion_hypotheses import flow_to_size
from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    flow_scale_fraction,
    require_frames,
)
from sgm_vfi.model.ops.resize import resize


@dataclass(frozen=True, kw_only=True)
class PerVFIConfig:
    """Shape and habits of the network."""

    invertible: bool = True  # draws the picture from a normalising flow (v00), or not (vb)
    estimator: str = "raft"  # of optical flow, one of sgm_vfi.model.flow.flow_zoo.FLOW_NETWORKS
    temperature: float = 0.3  # of the noise that the picture is drawn from
    seed: int = 0  # of that noise: every picture of a size starts from the same

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"A temperature is 0 or more, got {self.temperature}.")


PERVFI = PerVFIConfig()
PERVFI_VB = PerVFIConfig(invertible=False)


class PerVFIState(NamedTuple):
    """What serves every time between two frames."""

    levels0: list[Tensor]  # features, fine to coarse: 35, 64 and 96 channels
    levels1: list[Tensor]
    flow_01: Tensor  # (B, 2, H, W), pixels
    flow_10: Tensor
    metric0: Tensor  # (B, 1, H, W), at twice the distance in time that it stands for
    metric1: Tensor


class PerVFIFeatures(NamedTuple):
    """What both frames tell of the frame between."""

    conditions: list[Tensor]  # of the generator: 35, 64, 96 channels at 1/2, 1/4, 1/8
    moved: list[SplattedFeatures]  # frame 0 at that time, fine to coarse
    aligned: list[Tensor]  # frame 1
    masks: list[Tensor]  # share of frame 1, (B, 1, h, w)
    flow_t1: Tensor  # (B, 2, H, W)


class PerVFITrainingOutput(NamedTuple):
    """What the loss needs of a prediction."""

    picture: Tensor  # (B, 3, H, W) about [0, 1], not clamped
    target: Tensor
    nll: Tensor | None  # of the target, in bits per pixel, (B,); None without a normalising flow


class PerVFI(Interpolator):
    """Frame 0 gives the content, moved along a flow; frame 1 fills its holes.

    Args:
        estimator: of optical flow; None builds the one that the config names. Any other will do.
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
        require_frames(frame0, frame1, self)
        scale = float(flow_scale_fraction(flow_scale))
        with torch.no_grad():
            flows = self.estimator.bidirectional(resize(frame0, scale), resize(frame1, scale))
        flow_01, flow_10 = (flow_to_size(flow, frame0.shape[-2:]) for flow in flows)
        return self.prepare_with_flows(frame0, frame1, flow_01, flow_10)

    def prepare_with_flows(
        self, frame0: Tensor, frame1: Tensor, flow_01: Tensor, flow_10: Tensor
    ) -> PerVFIState:
        """`prepare` with flows of the caller's own.

        Shapes: frames (B, 3, H, W), flows (B, 2, H, W), in pixels.
        """
        require_frames(frame0, frame1, self)
        both = self.encoder(2 * torch.cat((frame0, frame1)) - 1)
        levels0, levels1 = (list(half) for half in zip(*(x.chunk(2) for x in both), strict=True))
        fine0, fine1 = levels0[0], levels1[0]
        metric0, metric1 = self.metric(
            torch.cat((fine0, fine1)), torch.cat((fine1, fine0)), torch.cat((flow_01, flow_10))
        ).chunk(2)
        return PerVFIState(levels0, levels1, flow_01, flow_10, metric0, metric1)

    def extract_features(self, pair: PerVFIState, time: Tensor) -> PerVFIFeatures:
        """All that depends on time, but the picture. Shapes: time (B, 1, 1, 1)."""
        moved = splat_features(pair.levels0, time * pair.flow_01, 2 * time * pair.metric0)
        flow_t1 = splat_flow_back((1 - time) * pair.flow_10, 2 * (1 - time) * pair.metric1)
        aligned = self.align(moved, pair.levels1, flow_t1)
        blended, masks = self.blend(moved, aligned)
        return PerVFIFeatures(self.fuse(blended), moved, aligned, masks, flow_t1)

    def interpolate(
        self, state: PerVFIState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        features = self.extract_features(state, time)
        frame = (self.draw(features.conditions) + 1) / 2
        notes = explanation(state, features, time) if explain else None
        return Interpolation(frame.clamp(0, 1), explanation=notes)

    def train(self, mode: bool = True) -> "PerVFI":
        """The estimator stays as it is, in training too."""
        super().train(mode)
        self.estimator.eval()
        return self

    @torch.no_grad()
    def initialize(self, frame0: Tensor, target: Tensor, frame1: Tensor, time: Tensor) -> None:
        """Set the normalisations of a fresh network by a batch, before its first training step.

        The plain decoder has none. Shapes: frames and target (B, 3, H, W), time (B, 1, 1, 1).
        """
        if self.config.invertible:
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
        """Predict, and measure how likely the truth is (of which vb knows nothing).

        The picture is drawn from noise as strong as that which the truth comes from, afresh for
        every sample. In training mode masks and targets get some noise as well.

        Args:
            flows: flow_01 and flow_10, (B, 2, H, W); None estimates them.

        Shapes: frames and target (B, 3, H, W), time (B, 1, 1, 1).
        """
        along = None if flows is None else self.prepare_with_flows(frame0, frame1, *flows)
        conditions = self.extract_features(along or self.prepare(frame0, frame1), time).conditions
        if not self.config.invertible:
            return PerVFITrainingOutput((self.draw(conditions) + 1) / 2, target, None)
        bits, deviation = self.generator.bits(2 * target - 1, conditions)
        shapes = noise_shapes(*target.shape[-2:])
        noise = [deviation * torch.randn(len(target), *x, device=target.device) for x in shapes]
        return PerVFITrainingOutput((self.draw(conditions, noise) + 1) / 2, target, bits)

    def draw(self, conditions: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        """Generate the picture, (B, 3, H, W) in [-1, 1], from the conditions of the generator.

        Args:
            noise: None draws it, by the config's seed and temperature; the plain decoder needs
                none.
        """
        if not self.config.invertible:
            return self.generator(conditions)
        return self.generator.decode(
            self.noise(conditions[0]) if noise is None else noise, conditions
        )

    def noise(self, like: Tensor) -> list[Tensor]:
        """The same noise for every sample, every time and on every device.

        Shapes: like (B, C, H/2, W/2) -> (B, 6, H/2, W/2), (B, 12, H/4, W/4), (B, 48, H/8, W/8).
        """
        random = torch.Generator().manual_seed(self.config.seed)
        height, width = (2 * side for side in like.shape[-2:])
        noise = (torch.randn(shape, generator=random) for shape in noise_shapes(height, width))
        return [(self.config.temperature * x).to(like).expand(len(like), -1, -1, -1) for x in noise]

    def compute_modules(self) -> Iterator[nn.Module]:
        yield from (*self.encoder.levels, self.fuse)
        if not self.config.invertible:
            yield self.generator


def explanation(pair: PerVFIState, features: PerVFIFeatures, time: Tensor) -> dict[str, Tensor]:
    """The flows towards both frames, and the share of frame 0."""
    flow_t0 = splat_flow_back(time * pair.flow_01, 2 * time * pair.metric0)
    return {"flow": torch.cat((flow_t0, features.flow_t1), dim=1), "blend": 1 - features.masks[0]}
