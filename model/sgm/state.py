"""State of SGM-VFI: features of frames, of a pair of frames, and the motion at a time."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class SGMFrames(NamedTuple):
    """Features that depend on one frame only; a pair is stacked on the batch axis."""

    frames: Tensor  # (2B, 3, H, W), in the network's colour order
    small: Tensor  # the same at the size that motion is estimated at
    fine: Tensor  # (2B, 4F, ...), features at 1/4 of that size
    tokens: Tensor  # (2B, h, w, 8F), features at 1/8
    matchable: Tensor | None  # (2B, h', w', 128), features for global matching
    context: list[Tensor]  # features for synthesis, at full size

    def advance(self, new: "SGMFrames") -> "SGMFrames":
        """Return the features of the second frame of this pair and of the frame after it."""
        return SGMFrames(*(_second_and(*both) for both in zip(self, new, strict=True)))


class SGMState(NamedTuple):
    """State shared by all times between two frames, which are stacked on the batch axis."""

    encoded: SGMFrames
    coarse: Tensor  # (2B, 8F, h, w), features that have seen both frames, as the next
    matchable: Tensor | None  # (2B, 128, h, w), features for global matching
    flow_scale: float

    @property
    def frames(self) -> Tensor:
        """Both frames, in the colour order of the network."""
        return self.encoded.frames

    @property
    def small(self) -> Tensor:
        """Both frames at the size that motion is estimated at."""
        return self.encoded.small


class SGMMotion(NamedTuple):
    """The motion at a time, at full size."""

    flow: Tensor  # (B, 4, H, W)
    blend_logits: Tensor  # (B, 1, H, W)
    merged: tuple[Tensor, ...]  # blends along the way, in training mode
    explanation: dict[str, Tensor] | None


def _second_and(known: Any, new: Any) -> Any:
    """Concatenate the second half of a batch, or of each in a list, with a new one."""
    if new is None:
        return None
    if isinstance(new, list):
        return [_second_and(*both) for both in zip(known, new, strict=True)]
    return torch.cat((known[len(known) // 2 :], new))
