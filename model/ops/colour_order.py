"""Colour orders."""

from typing import Literal

from torch import Tensor

ColourOrder = Literal["rgb", "bgr"]


def require_colour_order(order: str) -> None:
    """Refuse what is no colour order."""
    if order not in ("rgb", "bgr"):
        raise ValueError(f"colour_order is 'rgb' or 'bgr', got {order!r}.")


def reorder_colours(frames: Tensor, order: ColourOrder) -> Tensor:
    """From RGB to the order that a network's weights expect, or back. Shapes: (B, 3, H, W)."""
    return frames.flip(1) if order == "bgr" else frames
