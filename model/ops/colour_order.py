"""Conversion between RGB and BGR."""

from typing import Literal

from torch import Tensor

ColourOrder = Literal["rgb", "bgr"]


def require_colour_order(order: str) -> None:
    """Raise ValueError unless `order` is a colour order."""
    if order not in ("rgb", "bgr"):
        raise ValueError(f"colour_order is 'rgb' or 'bgr', got {order!r}.")


def reorder_colours(frames: Tensor, order: ColourOrder) -> Tensor:
    """Convert RGB to the given order, or back. Shapes: (B, 3, H, W)."""
    return frames.flip(1) if order == "bgr" else frames
