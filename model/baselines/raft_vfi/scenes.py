"""RAFT-VFI's rule for a change of scene, as published (Apache-2.0)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sgm_vfi.model.ops.pixel_grid import pixel_grid

LUMA = (0.299, 0.587, 0.114)  # of the channels in the order that the weights expect, BGR too
BINS = 64
IGNORED = 0.01  # a difference between two shares that says nothing
CHANGED_IN_ALL, CHANGED_IN_ONE = 0.8, 0.4  # sum and maximum of the differences
MARGIN, SPACING = 64, 8  # pixels: of the grid on which motion is tested
BOX = 8  # pixels, each way, over which differences are averaged
DIFFERENT = 5  # levels


def is_cut(frame0: Tensor, frame1: Tensor, flow_01: Tensor, flow_10: Tensor) -> bool:
    """Whether two frames are of different scenes: other brightnesses, or motion that contradicts.

    Frames of up to 128 pixels a side have no grid to test motion on: there brightness decides.

    Shapes: frames (1, 3, H, W) in [0, 1], in the order of the weights, flows (1, 2, H, W).
    """
    gray0, gray1 = levels(frame0), levels(frame1)
    difference = (histogram(gray0) - histogram(gray1)).abs()
    difference = torch.where(difference < IGNORED, 0, difference)
    if difference.sum() > CHANGED_IN_ALL or difference.max() > CHANGED_IN_ONE:
        return True
    contradicted = contradictions(gray0, gray1, flow_01, flow_10)
    return bool(2 * contradicted.sum() > contradicted.numel())


def levels(frame: Tensor) -> Tensor:
    """Brightness, 0 to 255 without fractions. Shapes: (1, 3, H, W) -> (1, 1, H, W)."""
    weight = frame.new_tensor(LUMA).view(1, 3, 1, 1)
    return (255 * frame * weight).sum(dim=1, keepdim=True).trunc()


def histogram(gray: Tensor) -> Tensor:
    """Share of the pixels in each of the bins of brightness. Shapes: -> (BINS,)."""
    return torch.histc(gray, BINS, 0, 255) / gray.numel()


def contradictions(gray0: Tensor, gray1: Tensor, flow_01: Tensor, flow_10: Tensor) -> Tensor:
    """Where on the grid the way there is not the way back, and leads to something else.

    Shapes: gray (1, 1, H, W), flows (1, 2, H, W) -> (rows, columns), bool; maybe empty.
    """
    height, width = gray0.shape[-2:]
    x, y = pixel_grid(flow_01)
    column = (x + flow_01[0, 0] + 0.5).clamp(0, width - 1).long()
    row = (y + flow_01[0, 1] + 0.5).clamp(0, height - 1).long()
    missed = (flow_01[0] + flow_10[0][:, row, column]).norm(dim=0)
    reach = torch.maximum(
        flow_01[0, 0].abs() * (width / 1920), flow_01[0, 1].abs() * (height / 1080)
    )
    lost = missed > (0.1 * reach + 4).clamp(5, 14)
    difference = (gray0[0] - gray1[0][:, row, column]).abs()
    before, after = BOX // 2, BOX - BOX // 2 - 1
    around = F.avg_pool2d(F.pad(difference, (before, after, before, after)), BOX, stride=1)
    both = lost & (around[0] > DIFFERENT)
    return both[MARGIN : height - MARGIN : SPACING, MARGIN : width - MARGIN : SPACING]
