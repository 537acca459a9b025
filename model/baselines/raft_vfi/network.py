"""RAFT-VFI, the practical frame interpolator of ModelScope: refined RAFT flows, any time.

Stages, in order:
    1. `sgm_vfi.model.flow.raft`: optical flow in both directions, on frames resized by
       `flow_scale`; with one frame more on each side, also the flows to those.
    2. `flow_refinement`: three coarse-to-fine corrections of both flows, by convolutions and window
       attention (`window_attention`).
    3. `flow_reversal`: the displacement up to time t, linear or with acceleration, and its
       reversal by splatting, which gives the flows from time t to both frames.
    4. `filter_flows_warp_and_blend`: a U-Net that filters these flows, a visibility mask, and a
       mask of static content; the frames are warped and blended at full resolution.

Flows are in pixels of the resized frames until stage 4. Frames are RGB in [0, 1]; the published
weights take BGR less a mean, which the network converts to and from.

Published as `cv_raft_video-frame-interpolation_practical` (code and weights: Apache-2.0). Based on
RAFT (Teed and Deng, ECCV 2020), QVI (Xu et al., NeurIPS 2019) and VFIformer (Lu et al., CVPR 2022).
Written from a description of the arithmetic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sgm_vfi.model.baselines.raft_vfi.filter_flows_warp_and_blend import (
    RAFTVFISynthesis,
    SynthesisOutput,
    blend_weight,
    compose,
    dilate,
)
from sgm_vfi.model.baselines.raft_vfi.flow_refinement import FlowRefinement
from sgm_vfi.model.baselines.raft_vfi.flow_reversal import displacement_at, reverse_flow
from sgm_vfi.model.flow.raft import RAFT
from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    convert_frames,
    flow_scale_fraction,
)
from sgm_vfi.model.ops.colour_order import ColourOrder, reorder_colours, require_colour_order
from sgm_vfi.model.ops.resize import resize, resize_flow

MEAN = (0.429, 0.431, 0.397)  # subtracted from the channels, in the order that the weights expect


@dataclass(frozen=True, kw_only=True)
class RAFTVFIConfig:
    """Options of the network; its shape is fixed."""

    iterations: int = 12  # of RAFT
    colour_order: ColourOrder = "rgb"  # that the weights expect; published ones: "bgr"

    def __post_init__(self) -> None:
        require_colour_order(self.colour_order)


class RAFTVFIFrame(NamedTuple):
    """Everything that depends on one frame only."""

    frame: Tensor  # (B, 3, H, W), in the network's colour order
    scaled: Tensor  # the frame at the resolution of the flow, (B, 3, h, w)
    encoding: Any  # features of RAFT
    flow_scale: float


class RAFTVFIState(NamedTuple):
    """Everything between two frames that does not depend on time."""

    features0: RAFTVFIFrame
    features1: RAFTVFIFrame
    raw: tuple[Tensor, Tensor]  # flow_01 and flow_10 as RAFT estimates them, (B, 2, h, w)
    flow: Tensor  # both, refined, (B, 4, h, w)
    context_flows: Tensor | None  # from frame 0 to the one before, from frame 1 to the one after
    next_features: RAFTVFIFrame | None = None  # of the frame after, where they were computed


class RAFTVFI(Interpolator):
    """Interpolates by warping along refined RAFT flows.

    The authors use a flow scale of 1/2 for frames of at least 1440 pixels in height or 2560 in
    width. With the frames before and after the pair, motion is quadratic in time; where either is
    missing (two frames only, ends of a clip, pairs next to a scene cut) it is linear.
    """

    stride = 32
    uses_context_frames = True

    def __init__(self, config: RAFTVFIConfig | None = None) -> None:
        super().__init__()
        self.config = config or RAFTVFIConfig()
        self.flow = RAFT(self.config.iterations)
        self.refinement = FlowRefinement()
        self.synthesis = RAFTVFISynthesis()

    def prepare(
        self,
        frame0: Tensor,
        frame1: Tensor,
        flow_scale: float = 1.0,
        *,
        before: Tensor | None = None,
        after: Tensor | None = None,
    ) -> RAFTVFIState:
        """Estimate the motion between two frames.

        Args:
            before: frame at time -1; None if there is none, or if there is a scene cut.
            after: frame at time 2; likewise.

        Shapes: frames (B, 3, H, W).
        """
        frame0, frame1 = convert_frames(frame0, frame1, self, flow_scale)
        before, after = (self._convert_context(frame0, x, flow_scale) for x in (before, after))
        features0 = self.encode_frame(frame0, flow_scale)
        features1 = self.encode_frame(frame1, flow_scale)
        raw = self.estimate_flows(features0, features1)
        back = None
        if before is not None and after is not None:
            encoding = self.encode_frame(before, flow_scale).encoding
            back = self.flow.estimate(features0.encoding, encoding)
        return self._build_state(features0, features1, raw, back, after)

    def advance(  # type: ignore[override]
        self,
        state: RAFTVFIState,
        frame1: Tensor,
        frame2: Tensor,
        flow_scale: float = 1.0,
        *,
        before: Tensor | None = None,
        after: Tensor | None = None,
    ) -> RAFTVFIState:
        """Estimate the motion of the next pair; encodes one frame and runs RAFT twice."""
        frame1, frame2 = convert_frames(frame1, frame2, self, flow_scale)
        before, after = (self._convert_context(frame1, x, flow_scale) for x in (before, after))
        features1 = state.features1
        if flow_scale != features1.flow_scale:
            return self.prepare(frame1, frame2, flow_scale, before=before, after=after)
        if state.next_features is None or state.context_flows is None:
            features2 = self.encode_frame(frame2, flow_scale)
            raw = self.estimate_flows(features1, features2)
        else:
            features2 = state.next_features
            backward = self.flow.estimate(features2.encoding, features1.encoding)
            raw = state.context_flows.chunk(2, dim=1)[1], backward
        back = None if before is None else state.raw[1]
        return self._build_state(features1, features2, raw, back, after)

    def _convert_context(
        self, frame: Tensor, other: Tensor | None, flow_scale: float
    ) -> Tensor | None:
        """Check and convert a context frame of `frame`, if there is one."""
        return None if other is None else convert_frames(frame, other, self, flow_scale)[1]

    def _build_state(
        self,
        features0: RAFTVFIFrame,
        features1: RAFTVFIFrame,
        raw: tuple[Tensor, Tensor],
        back: Tensor | None,
        after: Tensor | None,
    ) -> RAFTVFIState:
        """Refine the flows; with the flow `back` to the frame before, also estimate that on."""
        flow = self.refine(features0, features1, raw)
        if back is None or after is None:
            return RAFTVFIState(features0, features1, raw, flow, None)
        features2 = self.encode_frame(after, features1.flow_scale)
        onward = self.flow.estimate(features1.encoding, features2.encoding)
        context_flows = torch.cat((back, onward), dim=1)
        return RAFTVFIState(features0, features1, raw, flow, context_flows, features2)

    def interpolate(
        self, state: RAFTVFIState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Interpolate the frame at `time`. Shapes: time (B, 1, 1, 1) -> frame (B, 3, H, W)."""
        flow_t = self.flows_at(state, time)
        layers = self.synthesise(state, flow_t)
        frame = self.compose(state, layers, time).clamp(0, 1)
        if not explain:
            return Interpolation(frame)
        maps = {
            "initial_flow": resize_flow(flow_t, 1 / state.features0.flow_scale),
            "flow": torch.cat((layers.flow_t0, layers.flow_t1), dim=1),
            "blend": blend_weight(layers.mask, time),
            "static": layers.static,
        }
        return Interpolation(frame, explanation=maps)

    def compute_modules(self) -> Iterator[nn.Module]:
        """Yield the convolutions and attention that neither read nor write full-size flows."""
        raft = self.flow.network
        yield from (raft.feature_encoder, raft.context_encoder, raft.update_block.recurrent_block)
        yield from (stage.get_submodule("body") for stage in self.refinement)
        yield from self.synthesis.compute_modules()

    def encode_frame(self, frame: Tensor, flow_scale: float = 1.0) -> RAFTVFIFrame:
        """Compute everything that depends on one frame only. Shapes: frame (B, 3, H, W)."""
        flow_scale = float(flow_scale_fraction(flow_scale))
        frame = reorder_colours(frame, self.config.colour_order)
        scaled = resize(frame, flow_scale)
        return RAFTVFIFrame(frame, scaled, self.flow.encode(scaled), flow_scale)

    def estimate_flows(
        self, features0: RAFTVFIFrame, features1: RAFTVFIFrame
    ) -> tuple[Tensor, Tensor]:
        """Estimate flow_01 and flow_10 by RAFT. Shapes: -> (B, 2, h, w) twice."""
        return self.flow.estimate_both(features0.encoding, features1.encoding)

    def refine(
        self, features0: RAFTVFIFrame, features1: RAFTVFIFrame, flows: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Refine both flows. Shapes: flow_01 and flow_10 (B, 2, h, w) -> both (B, 4, h, w)."""
        frames = self.subtract_mean(features0.scaled), self.subtract_mean(features1.scaled)
        return self.refinement(*frames, torch.cat(flows, dim=1))

    def flows_at(self, state: RAFTVFIState, time: Tensor) -> Tensor:
        """Compute flow_t0 and flow_t1 at `time`. Shapes: -> (B, 4, h, w)."""
        flow_01, flow_10 = state.flow.chunk(2, dim=1)
        context = state.context_flows
        before, after = (None, None) if context is None else context.chunk(2, dim=1)
        moved = (
            displacement_at(flow_01, time, before),
            displacement_at(flow_10, 1 - time, after),
        )
        return torch.cat([reverse_flow(flow) for flow in moved], dim=1)

    def synthesise(self, state: RAFTVFIState, flow_t: Tensor) -> SynthesisOutput:
        """Compute the filtered flows and the masks, at full resolution.

        Shapes: flow_t (B, 4, h, w).
        """
        pair = state.features0.scaled, state.features1.scaled
        frames = (self.subtract_mean(frame) for frame in pair)
        flow_t0, flow_t1, mask, static = self.synthesis(*frames, state.flow, flow_t)
        enlargement = 1 / state.features0.flow_scale
        return SynthesisOutput(
            resize_flow(flow_t0, enlargement),
            resize_flow(flow_t1, enlargement),
            resize(mask, enlargement),
            resize(dilate(static), enlargement),
        )

    def compose(self, state: RAFTVFIState, layers: SynthesisOutput, time: Tensor) -> Tensor:
        """Blend the warped frames, in RGB; rounding may exceed [0, 1]."""
        frame = compose(state.features0.frame, state.features1.frame, layers, time)
        return reorder_colours(frame, self.config.colour_order)

    @staticmethod
    def subtract_mean(frame: Tensor) -> Tensor:
        """Subtract the mean colour of the training data. Shapes: (B, 3, H, W)."""
        return frame - frame.new_tensor(MEAN).view(1, 3, 1, 1)
