"""Interpolation by any optical flow, without a trained synthesis: a mixture of several guesses."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sgm_vfi.model.flow.estimator import FlowEstimator
from sgm_vfi.model.flow.motion_hypotheses import (
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
    flow_scale_fraction,
    require_frames,
)
from sgm_vfi.model.ops.resize import resize, resize_to

SMALL = 2**20  # pixels of a frame whose motion is found on frames half as large, not a quarter


class FlowBlendState(NamedTuple):
    """What serves every time between two frames."""

    frame0: Tensor
    frame1: Tensor
    flows: BidirectionalMotion
    seen1: Any  # what the flow network has looked at of frame 1,
    flow_scale: float  # at this scale


class FlowBlend(Interpolator):
    """Mixes both frames, warped along several guesses of the motion through each pixel at time t.

    The guesses: the flow of the frame itself, splatted to time t, with holes filled from around;
    the flow of the other frame, taken where it is; and none, so that a cross-fade remains where
    no flow explains the frames. What lies outside a frame does not count.

    Any device; differentiable as far as the flow is.
    """

    def __init__(self, flow: FlowEstimator) -> None:
        super().__init__()
        self.flow = flow

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> FlowBlendState:
        require_frames(frame0, frame1, self)
        return self._build_state(frame0, frame1, self._encode(frame0, flow_scale), flow_scale)

    def advance(
        self, state: FlowBlendState, frame1: Tensor, frame2: Tensor, flow_scale: float = 1.0
    ) -> FlowBlendState:
        if state.flow_scale != flow_scale:
            return self.prepare(frame1, frame2, flow_scale)
        require_frames(frame1, frame2, self)
        return self._build_state(frame1, frame2, state.seen1, flow_scale)

    def _encode(self, frame: Tensor, flow_scale: float) -> Any:
        return self.flow.encode(resize(frame, float(flow_scale_fraction(flow_scale))))

    def _build_state(
        self, frame0: Tensor, frame1: Tensor, seen0: Any, flow_scale: float
    ) -> FlowBlendState:
        seen1 = self._encode(frame1, flow_scale)
        is_small = frame0[0, 0].numel() <= SMALL
        shrink = (
            SHRINK // 2 if is_small else SHRINK
        )  # finer costs more, and shows less on large ones
        flows = prepare_hypotheses(frame0, frame1, *self.flow.estimate_both(seen0, seen1), shrink)
        return FlowBlendState(frame0, frame1, flows, seen1, flow_scale)

    def interpolate(
        self, state: FlowBlendState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        frame0, frame1, flows = state[:3]
        parts = compose_layers(flows, time)
        notes = explanation(flows, time, parts, frame0.shape[-2:]) if explain else None
        return Interpolation(render(parts, frame0, frame1), explanation=notes)


def explanation(
    motion: BidirectionalMotion, time: Tensor, parts: Composition, size: tuple[int, int]
) -> dict[str, Tensor]:
    """The named maps of `Interpolation`, at the size of the frames."""
    sides = parts.layers[:2], parts.layers[2:]
    flows = [sum(x.weight * x.flow for x in y) / sum(x.weight for x in y) for y in sides]
    first = (time * motion.flow_10, (1 - time) * motion.flow_01)
    blend = parts.still0 + sum(x.weight for x in sides[0])
    return {
        "initial_flow": torch.cat([flow_to_size(flow, size) for flow in first], dim=1),
        "flow": torch.cat([flow_to_size(flow, size) for flow in flows], dim=1),
        "difference": resize_to(motion.difference, size),
        "blend": resize_to(blend, size),
    }
