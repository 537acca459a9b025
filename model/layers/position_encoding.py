"""Sine position encoding (Carion et al., DETR, 2020)."""

import math

import torch
from torch import Tensor


def sine_position_encoding(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Encode the row in the first half of the channels, and the column in the second half.

    Positions are scaled to (0, 2 pi], so the embedding depends on the size of the grid.

    Shapes: -> (height, width, channels), float32.
    """
    half = channels // 2
    k = torch.arange(half, device=device, dtype=torch.float32)
    divisor = 10000 ** (2 * torch.div(k, 2, rounding_mode="floor") / half)

    def along(size: int) -> Tensor:
        """Return the encoding of one axis."""
        position = torch.arange(1, size + 1, device=device, dtype=torch.float32)
        angle = (position / (size + 1e-6) * (2 * math.pi))[:, None] / divisor
        return torch.where(k % 2 == 0, angle.sin(), angle.cos())  # (size, half)

    rows = along(height)[:, None].expand(-1, width, -1)
    columns = along(width)[None].expand(height, -1, -1)
    return torch.cat((rows, columns), dim=-1)
