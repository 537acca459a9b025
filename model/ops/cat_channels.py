"""Concatenation of maps along channels."""

from collections.abc import Sequence

import torch
from torch import Tensor


def cat_channels(maps: Sequence[Tensor]) -> Tensor:
    """Concatenate along channels, in the layout channels-last if any map has it.

    `torch.cat` of mixed layouts transposes to the other one, and a convolution transposes back:
    together four times as slow. Shapes: (B, C_i, H, W) -> (B, sum of C_i, H, W).
    """
    if any(part.shape[1] > 1 == part.stride(1) for part in maps):
        maps = [part.contiguous(memory_format=torch.channels_last) for part in maps]
    return maps[0] if len(maps) == 1 else torch.cat(list(maps), dim=1)
