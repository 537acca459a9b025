"""The contract that every optical flow estimator meets."""

from abc import ABC, abstractmethod

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

    def both(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        """Give flow_01 and flow_10; an estimator that gains from doing both at once overrides it.

        Shapes: frames (B, 3, H, W) -> two flows (B, 2, H, W).
        """
        return self(frame0, frame1), self(frame1, frame0)
