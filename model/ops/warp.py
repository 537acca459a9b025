"""Backward warping."""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.ops.grid import pixel_grid


def backward_warp(
    source: Tensor,
    flow: Tensor,
    padding: str = "border",
    origin: tuple[int, int] = (0, 0),
    *,
    mode: str = "bilinear",
) -> Tensor:
    """Read each output pixel from where its flow vector points in `source`.

        out(x, y) = source(x + u, y + v)    with    flow(x, y) = (u, v)

    Convention: flow is in pixels, channel 0 to the right and channel 1 down; pixel centres
    sit at integer coordinates (`align_corners=True`). Outside the source the nearest edge pixel
    is read (`padding="border"`), or nothing (`"zeros"`). A vector that is no number points
    outside: on the CPU, PyTorch's gradient reads and writes foreign memory there.

    Args:
        origin: (y, x) of the flow's first pixel in the source, where the flow covers only a
            window of it.
        mode: how to read between pixels; "bicubic" keeps more detail and may leave [0, 1].

    Shapes: source (B, C, H, W), flow (B, 2, h, w) -> (B, C, h, w); h, w = H, W without a window.
    """
    height, width = source.shape[-2:]
    x, y = pixel_grid(flow)
    top, left = origin
    grid = torch.stack(
        (
            (x + left + flow[:, 0]) * (2 / max(width - 1, 1)) - 1,
            (y + top + flow[:, 1]) * (2 / max(height - 1, 1)) - 1,
        ),
        dim=-1,
    )  # (B, h, w, 2), in [-1, 1] inside the frame
    grid = grid.nan_to_num_(nan=-2, posinf=2, neginf=-2)
    return F.grid_sample(source, grid, mode, padding, align_corners=True)


def warp_pair(frames: Tensor, flow: Tensor) -> Tensor:
    """Warp two frames, stacked on the batch axis, each by its half of the flow.

    Shapes: frames (2B, C, H, W), flow (B, 4, H, W) -> (2B, C, H, W).
    """
    return backward_warp(frames, torch.cat(flow.chunk(2, dim=1)))
