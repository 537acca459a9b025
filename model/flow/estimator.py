"""The contract that every optical flow estimator meets."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class FlowEstimator(nn.Module, ABC):
    """Says where every pixel of one frame is in another.

    Frames are RGB in [0, 1], of any size; who needs another colour order, range or multiple
    converts at its own door.
    """

    @abstractmethod
    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Give the flow with source(x, y) ~ target(x + u, y + v), in pixels.

        Shapes: frames (B, 3, H, W) -> flow (B, 2, H, W), in the frames' device and dtype.
        """

    def encode(self, frame: Tensor) -> Any:
        """Do once what serves every flow from a frame and to it; the result is for `estimate`."""
        return frame

    def estimate(self, source: Any, target: Any) -> Tensor:
        """Give the flow between two frames, from what `encode` returned of them."""
        return self(source, target)

    def estimate_both(self, seen0: Any, seen1: Any) -> tuple[Tensor, Tensor]:
        """Give flow_01 and flow_10, from what `encode` returned of frames 0 and 1."""
        return self.estimate(seen0, seen1), self.estimate(seen1, seen0)

    def bidirectional(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        """Give flow_01 and flow_10, looking at each frame once.

        Shapes: frames (B, 3, H, W) -> two flows (B, 2, H, W).
        """
        return self.estimate_both(self.encode(frame0), self.encode(frame1))
