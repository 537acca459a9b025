"""Test-time augmentation."""

from typing import Any, NamedTuple

from torch import Tensor

from sgm_vfi.model.inference.wrapper_base import Wrapper, map_frames
from sgm_vfi.model.interpolator import Interpolation


class FlipState(NamedTuple):
    """States of the inner interpolator for both orientations."""

    upright: Any
    turned: Any


class FlipEnsemble(Wrapper):
    """Mean of the predictions for the frames and for the frames rotated by 180 degrees.

    Takes twice the time. Explanations are those of the upright pass.
    """

    def prepare(
        self,
        frame0: Tensor,
        frame1: Tensor,
        flow_scale: float = 1.0,
        **around: Tensor | None,
    ) -> FlipState:
        """Prepare the frames upright and rotated."""
        upright = self.inner.prepare(frame0, frame1, flow_scale, **around)
        around = map_frames(rotate_180, around)
        turned = self.inner.prepare(rotate_180(frame0), rotate_180(frame1), flow_scale, **around)
        return FlipState(upright, turned)

    def advance(
        self,
        state: FlipState,
        frame1: Tensor,
        frame2: Tensor,
        flow_scale: float = 1.0,
        **around: Tensor | None,
    ) -> FlipState:
        """Advance both states."""
        upright = self.inner.advance(state.upright, frame1, frame2, flow_scale, **around)
        around = map_frames(rotate_180, around)
        rotated1, rotated2 = rotate_180(frame1), rotate_180(frame2)
        turned = self.inner.advance(state.turned, rotated1, rotated2, flow_scale, **around)
        return FlipState(upright, turned)

    def interpolate(
        self, state: FlipState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Average both predictions."""
        upright = self.inner.interpolate(state.upright, time, explain=explain)
        turned = self.inner.interpolate(state.turned, time)
        stages = zip(upright.merged, turned.merged, strict=True)
        return Interpolation(
            average_rotated(upright.frame.clamp(0, 1), turned.frame.clamp(0, 1)),
            tuple(average_rotated(*stage) for stage in stages),
            upright.explanation,
        )


def rotate_180(frame: Tensor) -> Tensor:
    """Rotate by 180 degrees. Shapes: (B, C, H, W) -> the same."""
    return frame.flip(-2, -1)


def average_rotated(upright: Tensor, turned: Tensor) -> Tensor:
    """Average an image and a rotated one. Shapes: (B, C, H, W), twice -> the same."""
    return (upright + rotate_180(turned)) / 2
