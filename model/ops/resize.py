"""Resizing of frames and flows, and padding to a multiple."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(tensor: Tensor, scale: float) -> Tensor:
    """Resize bilinearly with half-pixel centres and without antialiasing.

    Shapes: (B, C, H, W) -> (B, C, scale * H, scale * W), rounded down, but one pixel at least.
    """
    if scale == 1:
        return tensor
    size = [max(math.floor(side * scale + 1e-6), 1) for side in tensor.shape[-2:]]
    return resize_to(tensor, size)


def resize_to(tensor: Tensor, size: Sequence[int]) -> Tensor:
    """Resize to a height and width. Shapes: (B, C, H, W) -> (B, C, *size).

    The result does not depend on the number of threads: PyTorch has another kernel, with other
    rounding, for three channels on one thread. As single planes they are also resized faster.
    """
    if tensor.shape[1] == 3 and not torch.compiler.is_compiling():
        return resize_to(tensor.flatten(0, 1)[:, None], size).unflatten(0, (-1, 3)).flatten(1, 2)
    return F.interpolate(tensor, size=list(size), mode="bilinear", align_corners=False)


def halve(tensor: Tensor) -> Tensor:
    """Return `resize(tensor, 1 / 2)` of even sides in half the time: the mean of four pixels."""
    rows = tensor[..., ::2, :] + tensor[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def resize_flow(flow: Tensor, scale: float) -> Tensor:
    """Resize a flow and scale its vectors to pixels of the new size.

    Shapes: (B, 2 or 4, H, W) -> (B, 2 or 4, scale * H, scale * W), rounded down.
    """
    if scale == 1:
        return flow
    return resize(flow * scale, scale) if scale > 1 else resize(flow, scale) * scale


def symmetric_padding(size: int, multiple: int) -> tuple[int, int]:
    """Return the pixels before and after a side that pad it to a multiple; odd ones go after."""
    extra = -size % multiple
    return extra // 2, extra - extra // 2
