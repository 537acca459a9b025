"""Step 1 of SGM-VFI: find where the first estimate of the motion is wrong."""

import math

import torch
from torch import Tensor

from sgm_vfi.model.ops.splat import splat, splat_sum
from sgm_vfi.model.ops.warp import backward_warp

# Published splats weigh every pixel by e and add 1e-7 to the sum; the factor cancels.
EPSILON = 1e-7 / math.e


def difference_map(frames: Tensor, warped: Tensor, flow: Tensor) -> Tensor:
    """Splat each frame through time t to the other, compare, and carry the error back.

    Frame 0 warped to t is splatted on to frame 1 along the flow t -> 1; what differs from frame 1
    there was moved wrongly. That error goes back to t and on to frame 0, so that the map on a
    frame says which of its pixels to match anew. What no pixel reaches counts as no error.

    Shapes: frames, warped (2B, 3, H, W), all first frames, then all second ones, `warped` already
    at time t; flow (B, 4, H, W) -> (2B, 1, H, W), on frame 0, then on frame 1, 0 to 3.
    """
    flow_t0, flow_t1 = flow.chunk(2, dim=1)
    onward, back = torch.cat((flow_t1, flow_t0)), torch.cat((flow_t0, flow_t1))
    arrived, mass = splat(warped, onward, epsilon=EPSILON)  # on frame 1, then on frame 0
    opposite = torch.cat(frames.chunk(2)[::-1])
    error = (arrived - opposite).abs().sum(dim=1, keepdim=True)
    error = torch.where(mass == 0, 0, error)
    carried = splat_sum(backward_warp(error, onward), back)  # on frame 0, then on frame 1
    return carried / (torch.cat(mass.chunk(2)[::-1]) + EPSILON)
