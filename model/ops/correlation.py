"""Local correlation volumes."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor


def local_correlation(source: Tensor, target: Tensor, radius: int, stride: int = 1) -> Tensor:
    """Correlate each pixel with its neighbourhood in another map, which is zero outside.

    Computes the mean over channels of source(x, y) * target(x + u, y + v).

    Args:
        radius: u and v range from -radius to radius, in steps of the stride.
        stride: step between the rows and columns of the source that are used.

    Shapes: (B, C, H, W) twice -> (B, (2 radius + 1)^2, H / stride, W / stride), rounded up;
    displacements row by row, u fastest.
    """
    height, width = source.shape[-2:]
    padded = F.pad(target, (radius * stride,) * 4)
    places = source[..., ::stride, ::stride]
    steps = range(0, (2 * radius + 1) * stride, stride)
    costs = [
        (places * padded[..., top : top + height : stride, left : left + width : stride]).mean(1)
        for top, left in itertools.product(steps, steps)
    ]
    return torch.stack(costs, dim=1)
