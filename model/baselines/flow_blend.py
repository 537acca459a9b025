"""Interpolation by any optical flow, without a trained synthesis: a mixture of several guesses."""

import torch
from torch import Tensor

from model.flow.estimator import FlowEstimator
from model.flow.guesses import Flows, Layer, flow_to_size, mixture, weigh
from model.interpolator import Interpolation, Interpolator, flow_ratio, require_frames
from model.ops.resize import resize, resize_to
from model.ops.warp import backward_warp


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

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> Flows:
        require_frames(frame0, frame1, self)
        scale = float(flow_ratio(flow_scale))
        flows = self.flow.both(resize(frame0, scale), resize(frame1, scale))
        return weigh(frame0, frame1, *flows)

    def at(self, state: Flows, time: Tensor, *, explain: bool = False) -> Interpolation:
        layers, still0, still1 = mixture(state, time)
        size = state.frame0.shape[-2:]
        frame = resize_to(still0, size) * state.frame0 + resize_to(still1, size) * state.frame1
        for layer in layers:
            flow, weight = flow_to_size(layer.flow, size), resize_to(layer.weight, size)
            frame = frame + weight * backward_warp(layer.frame, flow, mode=layer.mode)
        notes = explanation(state, time, layers, still0) if explain else None
        return Interpolation(frame.clamp(0, 1), explanation=notes)


def explanation(
    motion: Flows, time: Tensor, layers: list[Layer], still0: Tensor
) -> dict[str, Tensor]:
    """The named maps of `Interpolation`, at the size of the frames."""
    size = motion.frame0.shape[-2:]
    sides = layers[:2], layers[2:]
    flows = [sum(x.weight * x.flow for x in y) / sum(x.weight for x in y) for y in sides]
    first = (time * motion.flow_10, (1 - time) * motion.flow_01)
    blend = still0 + sum(x.weight for x in sides[0])
    return {
        "initial_flow": torch.cat([flow_to_size(flow, size) for flow in first], dim=1),
        "flow": torch.cat([flow_to_size(flow, size) for flow in flows], dim=1),
        "difference": resize_to(motion.difference, size),
        "blend": resize_to(blend, size),
    }
