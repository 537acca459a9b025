"""Base class of optical flow estimators."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class FlowEstimator(nn.Module, ABC):
    """Base class for optical flow estimators; frames are RGB in [0, 1], of any size."""

    @abstractmethod
    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the flow with source(x, y) ~ target(x + u, y + v), in pixels.

        Shapes: frames (B, 3, H, W) -> flow (B, 2, H, W), in the frames' device and dtype.
        """

    def encode(self, frame: Tensor) -> Any:
        """Compute what all flows from and to a frame share, for `estimate`."""
        return frame

    def estimate(self, source: Any, target: Any) -> Tensor:
        """Return the flow from `source` to `target`, as `encode` returned them."""
        return self(source, target)

    def estimate_both(self, seen0: Any, seen1: Any) -> tuple[Tensor, Tensor]:
        """Return flow_01 and flow_10, from what `encode` returned of frames 0 and 1."""
        return self.estimate(seen0, seen1), self.estimate(seen1, seen0)

    def bidirectional(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        """Return flow_01 and flow_10, encoding each frame once.

        Shapes: frames (B, 3, H, W) -> two flows (B, 2, H, W).
        """
        return self.estimate_both(self.encode(frame0), self.encode(frame1))
