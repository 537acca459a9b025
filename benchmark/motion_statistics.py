"""Statistics of the motion between two frames."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.flow.estimator import FlowEstimator

LONGEST_ONE_IN = 20  # motion sufficiency is the least of the longest 5 % of the vectors
FAST_MAX_SIDE = 512  # pixels: longer side of the frames on which a plot's motion is estimated


class MotionStatistics(NamedTuple):
    """Two statistics of a flow, in pixels of the frames."""

    mean: float  # length
    sufficiency: float  # the least of the longest 5 % of the lengths


def flow_statistics(flow: Tensor) -> MotionStatistics:
    """Return the mean length, and the least of the max(1, floor(N / 20)) longest of N vectors.

    Shapes: flow (2, H, W), finite.
    """
    lengths = flow.double().norm(dim=0).flatten()
    if not lengths.isfinite().all():
        raise ValueError("A flow holds vectors that are no numbers. Are its weights trained?")
    longest = lengths.topk(max(1, len(lengths) // LONGEST_ONE_IN)).values
    return MotionStatistics(lengths.mean().item(), longest[-1].item())


@torch.inference_mode()
def estimate_motion(
    estimator: FlowEstimator, frame0: Tensor, frame1: Tensor, max_side: int
) -> MotionStatistics:
    """Estimate the motion from one frame to another, in pixels of these frames.

    The flow is estimated on frames whose longer side is at most `max_side` (bilinear, antialiased;
    never enlarged). Shapes: (1, 3, H, W) twice.
    """
    height, width = frame0.shape[-2:]
    scale = min(1.0, max_side / max(height, width))
    size = [max(1, round(side * scale)) for side in (height, width)]
    if scale < 1:
        frame0, frame1 = (
            F.interpolate(frame, size=size, mode="bilinear", antialias=True)
            for frame in (frame0, frame1)
        )
    flow = estimator(frame0, frame1)[0]
    enlarged = flow.new_tensor([width / size[1], height / size[0]])
    return flow_statistics(flow * enlarged[:, None, None])
