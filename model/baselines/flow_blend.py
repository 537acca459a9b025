"""Interpolation by an optical flow estimator, without trained synthesis.

Stages, in order: the flow is estimated both ways (`sgm_vfi.model.flow`); several motion hypotheses
per pixel are derived and weighted (`sgm_vfi.model.flow.motion_hypotheses_at_time`); the frames are
warped along each of them and averaged.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sgm_vfi.model.flow import gmflow_two_scales
from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.flow_zoo import build_flow_estimator
from sgm_vfi.model.flow.motion_hypotheses_at_time import (
    SHRINK,
    BidirectionalMotion,
    Composition,
    compose_layers,
    flow_to_size,
    prepare_hypotheses,
    render,
)
from sgm_vfi.model.interpolator import (
    Interpolation,
    Interpolator,
    convert_frames,
    flow_scale_fraction,
)
from sgm_vfi.model.ops.resize import resize, resize_to
from sgm_vfi.model.weight_io import Architecture, Weights, translate_name

SMALL = 2**19  # pixels: smaller frames use finer motion hypotheses


class FlowBlendState(NamedTuple):
    """Everything between two frames that does not depend on time."""

    frame0: Tensor
    frame1: Tensor
    flows: BidirectionalMotion
    encoding1: Any  # of the flow estimator, for frame 1
    flow_scale: float


class FlowBlend(Interpolator):
    """Averages both frames, warped along several motion hypotheses per pixel at time t.

    The hypotheses: the flow of the frame itself, splatted to time t with holes filled; the flow of
    the other frame, read in place; and no motion, so that a cross-fade remains where no flow
    explains the frames. Samples outside a frame have no weight.

    Runs on any device; as differentiable as the flow estimator.
    """

    config: "FlowBlendConfig | None" = None  # of a flow that is a network with weights

    def __init__(self, flow: FlowEstimator) -> None:
        super().__init__()
        self.flow = flow

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> FlowBlendState:
        """Estimate the flows and weight the hypotheses. Shapes: frames (B, 3, H, W)."""
        frame0, frame1 = convert_frames(frame0, frame1, self)
        return self._build_state(frame0, frame1, self._encode(frame0, flow_scale), flow_scale)

    def advance(  # type: ignore[override]
        self, state: FlowBlendState, frame1: Tensor, frame2: Tensor, flow_scale: float = 1.0
    ) -> FlowBlendState:
        """Do what `prepare` does, with the encoding of frame 1 that the last pair left."""
        if state.flow_scale != flow_scale:
            return self.prepare(frame1, frame2, flow_scale)
        frame1, frame2 = convert_frames(frame1, frame2, self)
        return self._build_state(frame1, frame2, state.encoding1, flow_scale)

    def _encode(self, frame: Tensor, flow_scale: float) -> Any:
        return self.flow.encode(resize(frame, float(flow_scale_fraction(flow_scale))))

    def _build_state(
        self, frame0: Tensor, frame1: Tensor, encoding0: Any, flow_scale: float
    ) -> FlowBlendState:
        encoding1 = self._encode(frame1, flow_scale)
        is_small = frame0[0, 0].numel() <= SMALL  # finer costs more, and shows less on large frames
        shrink = SHRINK // 2 if is_small else SHRINK
        flows = prepare_hypotheses(
            frame0, frame1, *self.flow.estimate_both(encoding0, encoding1), shrink
        )
        return FlowBlendState(frame0, frame1, flows, encoding1, flow_scale)

    def interpolate(
        self, state: FlowBlendState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Interpolate the frame at `time`. Shapes: time (B, 1, 1, 1) -> frame (B, 3, H, W)."""
        frame0, frame1, flows = state[:3]
        parts = compose_layers(flows, time)
        maps = explanation(flows, time, parts, frame0) if explain else None
        return Interpolation(render(parts, frame0, frame1), explanation=maps)


def explanation(
    motion: BidirectionalMotion, time: Tensor, parts: Composition, like: Tensor
) -> dict[str, Tensor]:
    """Return the maps of `Interpolation.explanation`."""
    height, width = like.shape[-2:]
    size = height, width
    weights, flows = [], []
    for a, b in (parts.layers[:2], parts.layers[2:]):
        weights.append(a.weight + b.weight)
        flows.append((a.weight * a.flow + b.weight * b.flow) / weights[-1])
    first = (time * motion.flow_10, (1 - time) * motion.flow_01)
    return {
        "initial_flow": torch.cat([flow_to_size(flow, size) for flow in first], dim=1),
        "flow": torch.cat([flow_to_size(flow, size) for flow in flows], dim=1),
        "difference": resize_to(motion.difference, size),
        "blend": resize_to(parts.still0 + weights[0], size),
    }


@dataclass(frozen=True, kw_only=True)
class FlowBlendConfig:
    """Config of a `FlowBlend` whose flow is a network with weights."""

    estimator: str = "gmflow_refine"  # one of sgm_vfi.model.flow.flow_zoo.FLOW_NETWORKS


def build_flow_blend(config: FlowBlendConfig) -> FlowBlend:
    """Build a `FlowBlend` on a flow network with fresh weights."""
    network = FlowBlend(build_flow_estimator(config.estimator))
    network.config = config
    return network


def is_published(weights: Weights) -> bool:
    """Tell whether these are names of the published two-scale GMFlow."""
    return gmflow_two_scales.TRIDENT_WEIGHT in weights.state


def from_published(weights: Weights) -> Weights:
    """Rename the tensors of a published flow network to those of a `FlowBlend` on it."""
    scopes = gmflow_two_scales.SCOPES
    state = {f"flow.{translate_name(name, scopes)}": x for name, x in weights.state.items()}
    return weights._replace(state=state)


ARCHITECTURE = Architecture(
    "flow_blend",
    build_flow_blend,
    FlowBlendConfig,
    is_published,
    from_published,
    published_config=lambda weights: FlowBlendConfig(),
    describe=lambda config: f"a blend of frames warped by {config.estimator}",
)
