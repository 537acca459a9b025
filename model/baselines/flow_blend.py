"""Interpolation by any optical flow, without a trained synthesis: a mixture of several guesses."""

from typing import NamedTuple

import torch
from torch import Tensor

from model.flow.estimator import FlowEstimator
from model.flow.guesses import Flows, Mixture, flow_to_size, mixed, mixture, weigh
from model.interpolator import Interpolation, Interpolator, flow_ratio, require_frames
from model.ops.resize import resize, resize_to


class Related(NamedTuple):
    """What serves every time between two frames."""

    frame0: Tensor
    frame1: Tensor
    flows: Flows


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

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> Related:
        require_frames(frame0, frame1, self)
        scale = float(flow_ratio(flow_scale))
        flows = self.flow.both(resize(frame0, scale), resize(frame1, scale))
        return Related(frame0, frame1, weigh(frame0, frame1, *flows))

    def at(self, state: Related, time: Tensor, *, explain: bool = False) -> Interpolation:
        frame0, frame1, flows = state
        parts = mixture(flows, time)
        notes = explanation(flows, time, parts, frame0.shape[-2:]) if explain else None
        return Interpolation(mixed(parts, frame0, frame1), explanation=notes)


def explanation(
    motion: Flows, time: Tensor, parts: Mixture, size: tuple[int, int]
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
