"""Coordinates of pixel centres."""

import torch
from torch import Tensor


def pixel_grid(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates of the pixel centres, which are integers.

    Shapes: like (..., H, W) -> x (1, W) to the right, y (H, 1) down, in its device and dtype.
    """
    height, width = like.shape[-2:]
    x = torch.arange(width, device=like.device, dtype=like.dtype)
    y = torch.arange(height, device=like.device, dtype=like.dtype)
    return x[None, :], y[:, None]
