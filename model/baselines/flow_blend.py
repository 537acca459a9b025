"""Interpolation by any optical flow, without a trained synthesis."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.flow.estimator import FlowEstimator
from model.interpolator import Interpolation, Interpolator, flow_ratio, require_frames
from model.ops.resize import resize
from model.ops.warp import backward_warp


class Motion(NamedTuple):
    """What serves every time between two frames."""

    frame0: Tensor
    frame1: Tensor
    flow_01: Tensor
    flow_10: Tensor


class FlowBlend(Interpolator):
    """Warps both frames along the flow between them, and blends."""

    def __init__(self, flow: FlowEstimator) -> None:
        super().__init__()
        self.flow = flow

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> Motion:
        require_frames(frame0, frame1, self)
        scale = float(flow_ratio(flow_scale))
        flows = self.flow.both(resize(frame0, scale), resize(frame1, scale))
        flow_01, flow_10 = (resize_to(flow, frame0) for flow in flows)
        return Motion(frame0, frame1, flow_01, flow_10)

    def at(self, state: Motion, time: Tensor, *, explain: bool = False) -> Interpolation:
        frame0, frame1, flow_01, flow_10 = state
        flow_t0, flow_t1 = time * flow_10, (1 - time) * flow_01
        warped0, warped1 = backward_warp(frame0, flow_t0), backward_warp(frame1, flow_t1)
        frame = torch.lerp(warped1, warped0, 1 - time)
        if not explain:
            return Interpolation(frame)
        maps = {
            "flow": torch.cat((flow_t0, flow_t1), 1),
            "blend": (1 - time).expand_as(frame[:, :1]),
        }
        return Interpolation(frame, explanation=maps)


def resize_to(flow: Tensor, like: Tensor) -> Tensor:
    """Bring a flow, vectors too, to the size of a frame."""
    height, width = like.shape[-2:]
    ratio = flow.new_tensor((width / flow.shape[-1], height / flow.shape[-2]))
    flow = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
    return flow * ratio.view(1, 2, 1, 1)
