"""The two floors: interpolators that know nothing of motion."""

from typing import NamedTuple

import torch
from torch import Tensor

from sgm_vfi.model.interpolator import Interpolation, Interpolator, require_frames


class FramePair(NamedTuple):
    frame0: Tensor
    frame1: Tensor


class ConstantBlend(Interpolator):
    """Gives a share of each frame, the same all over."""

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> FramePair:
        require_frames(frame0, frame1, self)
        return FramePair(frame0, frame1)


class Repeat(ConstantBlend):
    """Shows the nearer frame again; frame 0 at t = 1/2."""

    def interpolate(
        self, state: FramePair, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        blend = (time <= 0.5).to(state.frame0)
        return blend_frames(state, blend, explain)


class Blend(ConstantBlend):
    """Cross-fades: the mean of both frames, weighted by time."""

    def interpolate(
        self, state: FramePair, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        return blend_frames(state, 1 - time, explain)


def blend_frames(state: FramePair, blend: Tensor, explain: bool) -> Interpolation:
    """The share `blend` (B, 1, 1, 1) of frame 0, the rest of frame 1."""
    frame0, frame1 = state
    frame = torch.lerp(frame1, frame0, blend)
    if not explain:
        return Interpolation(frame)
    height, width = frame.shape[-2:]
    still = frame.new_zeros(len(frame), 4, height, width)
    maps = {"flow": still, "blend": blend.expand(len(frame), 1, height, width)}
    return Interpolation(frame, explanation=maps)
