"""Test-time augmentation."""

from typing import Any, NamedTuple

from torch import Tensor

from sgm_vfi.model.inference.wrapper import Wrapper, each
from sgm_vfi.model.interpolator import Interpolation


class BothWaysUp(NamedTuple):
    """States of the inner interpolator."""

    upright: Any
    turned: Any


class FlipEnsemble(Wrapper):
    """The mean of two predictions: of the frames, and of the frames turned by 180 degrees.

    Two passes, one after the other: twice the time. Explanations are those of the upright one.
    """

    def prepare(
        self,
        frame0: Tensor,
        frame1: Tensor,
        flow_scale: float = 1.0,
        **around: Tensor | None,
    ) -> BothWaysUp:
        upright = self.inner.prepare(frame0, frame1, flow_scale, **around)
        around = each(turn, around)
        turned = self.inner.prepare(turn(frame0), turn(frame1), flow_scale, **around)
        return BothWaysUp(upright, turned)

    def advance(
        self,
        state: BothWaysUp,
        frame1: Tensor,
        frame2: Tensor,
        flow_scale: float = 1.0,
        **around: Tensor | None,
    ) -> BothWaysUp:
        upright = self.inner.advance(state.upright, frame1, frame2, flow_scale, **around)
        pair, around = (turn(frame1), turn(frame2)), each(turn, around)
        turned = self.inner.advance(state.turned, *pair, flow_scale, **around)
        return BothWaysUp(upright, turned)

    def at(self, state: BothWaysUp, time: Tensor, *, explain: bool = False) -> Interpolation:
        upright = self.inner.at(state.upright, time, explain=explain)
        turned = self.inner.at(state.turned, time)
        stages = zip(upright.merged, turned.merged, strict=True)
        return Interpolation(
            mean(upright.frame.clamp(0, 1), turned.frame.clamp(0, 1)),
            tuple(mean(*stage) for stage in stages),
            upright.explanation,
        )


def turn(frame: Tensor) -> Tensor:
    """Rows and columns in reverse, which is a rotation by 180 degrees: (B, C, H, W), the same."""
    return frame.flip(-2, -1)


def mean(upright: Tensor, turned: Tensor) -> Tensor:
    """Of a picture and of one that is upside down. Shapes: (B, C, H, W), twice -> the same."""
    return (upright + turn(turned)) / 2
