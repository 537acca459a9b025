"""Padding of frames to the sizes that a network accepts."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.inference.wrapper_base import Wrapper, map_frames, map_tensors
from sgm_vfi.model.interpolator import Interpolation, Interpolator, Window, require_frames
from sgm_vfi.model.ops.resize import symmetric_padding


class PaddedState(NamedTuple):
    """State of the network, and where the frame lies in the padded one."""

    inner: Any
    picture: Window  # where the frame lies in the padded one


class Padded(Wrapper):
    """Pads frames by replication, centred, and crops the result; accepts every size.

    Args:
        multiple: height and width are padded to multiples of this; by default, of what the
            interpolator asks for at the `flow_scale` in use.
    """

    def __init__(self, inner: Interpolator, multiple: int | None = None) -> None:
        if multiple is not None and multiple < 1:
            raise ValueError(f"Sizes are padded to a multiple of 1 or more, got {multiple}.")
        super().__init__(inner)
        self.stride = 1
        self.pad_to = multiple

    def size_multiple(self, flow_scale: float = 1.0) -> int:
        """Return 1: every size is accepted."""
        return 1  # every size is a good one

    def prepare(
        self,
        frame0: Tensor,
        frame1: Tensor,
        flow_scale: float = 1.0,
        **around: Tensor | None,
    ) -> PaddedState:
        """Prepare the padded frames."""
        require_frames(frame0, frame1, self)
        pad, picture = self._padding(frame0, flow_scale)
        inner = self.inner.prepare(pad(frame0), pad(frame1), flow_scale, **map_frames(pad, around))
        return PaddedState(inner, picture)

    def advance(
        self,
        state: PaddedState,
        frame1: Tensor,
        frame2: Tensor,
        flow_scale: float = 1.0,
        **around: Tensor | None,
    ) -> PaddedState:
        """Advance with the padded frames."""
        require_frames(frame1, frame2, self)
        pad, picture = self._padding(frame1, flow_scale)
        around = map_frames(pad, around)
        inner = self.inner.advance(state.inner, pad(frame1), pad(frame2), flow_scale, **around)
        return PaddedState(inner, picture)

    def _padding(
        self, frame: Tensor, flow_scale: float
    ) -> tuple[Callable[[Tensor], Tensor], Window]:
        """Return a function that pads frames of this size, and where the frame then lies."""
        height, width = frame.shape[-2:]
        multiple = self.pad_to or self.inner.size_multiple(flow_scale)
        (top, bottom), (left, right) = (
            symmetric_padding(height, multiple),
            symmetric_padding(width, multiple),
        )
        pad = partial(F.pad, pad=(left, right, top, bottom), mode="replicate")
        return pad, Window(top, top + height, left, left + width)

    def interpolate(
        self, state: PaddedState, time: Tensor, *, explain: bool = False
    ) -> Interpolation:
        """Interpolate, and crop to the frame."""
        return map_tensors(
            state.picture.crop, self.inner.interpolate(state.inner, time, explain=explain)
        )
