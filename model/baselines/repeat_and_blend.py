"""Baselines without motion: repeat the nearer frame, or cross-fade."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from sgm_vfi.model.interpolator import Interpolation, Interpolator, convert_frames


class FramePair(NamedTuple):
    """Two frames, (B, 3, H, W)."""

    frame0: Tensor
    frame1: Tensor


class ConstantBlend(Interpolator):
    """Base class of interpolators that weight each frame uniformly."""

    @abstractmethod
    def weight0(self, time: Tensor) -> Tensor:
        """Return the weight of frame 0. Shapes: (B, 1, 1, 1) -> (B, 1, 1, 1)."""

    def prepare(self, frame0: Tensor, frame1: Tensor, flow_scale: float = 1.0) -> FramePair:
        """Keep both frames. Shapes: (B, 3, H, W)."""
        frame0, frame1 = convert_frames(frame0, frame1, self)
        return FramePair(frame0, frame1)

    def interpolate(
        self, state: FramePair, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Average the frames. Shapes: time (B, 1, 1, 1) -> frame (B, 3, H, W)."""
        blend = self.weight0(time).to(state.frame0)
        frame = torch.lerp(state.frame1, state.frame0, blend)
        if not explain:
            return Interpolation(frame)
        height, width = frame.shape[-2:]
        flow = frame.new_zeros(len(frame), 4, height, width)
        maps = {"flow": flow, "blend": blend.expand(len(frame), 1, height, width)}
        return Interpolation(frame, explanation=maps)


class Repeat(ConstantBlend):
    """Repeats the nearer frame; frame 0 at t = 1/2."""

    def weight0(self, time: Tensor) -> Tensor:
        """Return 1 where frame 0 is at least as near as frame 1, else 0."""
        return time <= 0.5


class Blend(ConstantBlend):
    """Cross-fade: the mean of both frames, weighted by time."""

    def weight0(self, time: Tensor) -> Tensor:
        """Return 1 - time."""
        return 1 - time
